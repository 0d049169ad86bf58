"""A specification is a job's identity: fields that came later change it only where they are used."""

import json

import pytest
from pydantic import ValidationError

from common.errors import InputError
from common.jobspec import JobSpec, SamplingSpec
from common.vocab import Guarantee
from tests.rows import make_spec


def test_a_job_is_the_same_as_before_its_later_fields_were_known():
    # The digest that the first release gave this specification.
    first = "378feeda5e7e4035e7e2aa0754f7fd56e42b82f7fc4678862138d01a07376c95"
    assert make_spec().digest() == first
    changes = [{"continuous": True}, {"lipschitz": "estimated"}, {"lipschitz": "0.5"}, {"lipschitz": "0.5", "cap": 3}]
    digests = {make_spec(**change).digest() for change in changes}
    assert len(digests | {first}) == 5


def test_a_constant_is_the_same_however_it_is_written():
    assert make_spec(lipschitz="0.50").digest() == make_spec(lipschitz=0.5).digest()


SIZE = {"frames": 3, "height": 8, "width": 8}


def test_a_pause_makes_another_job_and_is_the_same_however_it_is_written():
    paused = [make_spec(sampling=SamplingSpec(**SIZE, every=every)) for every in (1, "1.0", "0.5", 0.5)]
    assert len({spec.digest() for spec in [make_spec(), *paused]}) == 3
    assert paused[0].digest() == paused[1].digest()
    assert paused[2].digest() == paused[3].digest()
    assert paused[1].model_dump(mode="json")["sampling"]["every"] == "1"


def test_a_sampling_without_a_pause_is_written_as_before_there_were_pauses():
    # Cached clips are named by this text, and older workers refuse fields that they do not know.
    assert SamplingSpec(**SIZE, stride=2).model_dump_json() == '{"frames":3,"stride":2,"height":8,"width":8}'
    assert SamplingSpec(**SIZE).model_dump(mode="json") == SIZE | {"stride": None}


def test_a_job_that_was_stored_before_there_were_pauses_is_read_as_it_was():
    stored = json.loads(make_spec().model_dump_json())
    assert "every" not in stored["sampling"]
    read = JobSpec.model_validate(stored)
    assert (read, read.sampling.every) == (make_spec(), None)
    paused = make_spec(sampling=SamplingSpec(**SIZE, every="0.1"))
    assert JobSpec.model_validate_json(paused.model_dump_json()) == paused


def test_a_stride_and_a_pause_exclude_each_other():
    with pytest.raises(InputError, match=r"^every: cannot be given together with --stride 2; leave out one of them$"):
        SamplingSpec(**SIZE, stride=2, every=1)


@pytest.mark.parametrize("every", [0, "-1", "nan", "inf", "0.0000001", 86401, "a second"])
def test_a_pause_is_a_number_of_whole_microseconds_up_to_a_day(every):
    with pytest.raises(ValidationError):
        SamplingSpec(**SIZE, every=every)


def test_a_heuristic_needs_a_constant():
    with pytest.raises(InputError, match=r"^heuristic: needs a Lipschitz constant"):
        make_spec(heuristic=True)


def test_what_a_job_s_bounds_are_worth():
    assert make_spec().search_guarantee is Guarantee.GRID
    # The constant bounds MSR then; the grid's bound does not rest on it.
    assert make_spec(lipschitz="estimated").search_guarantee is Guarantee.GRID
    assert make_spec(lipschitz="estimated", heuristic=True).search_guarantee is Guarantee.LIPSCHITZ_ESTIMATED
    assert make_spec(lipschitz="2", heuristic=True).search_guarantee is Guarantee.LIPSCHITZ_ASSUMED

"""A specification is a job's identity: fields that came later change it only where they are used."""

import pytest

from common.errors import InputError
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


def test_a_heuristic_needs_a_constant():
    with pytest.raises(InputError, match=r"^heuristic: needs a Lipschitz constant"):
        make_spec(heuristic=True)


def test_what_a_job_s_bounds_are_worth():
    assert make_spec().search_guarantee is Guarantee.GRID
    # The constant bounds MSR then; the grid's bound does not rest on it.
    assert make_spec(lipschitz="estimated").search_guarantee is Guarantee.GRID
    assert make_spec(lipschitz="estimated", heuristic=True).search_guarantee is Guarantee.LIPSCHITZ_ESTIMATED
    assert make_spec(lipschitz="2", heuristic=True).search_guarantee is Guarantee.LIPSCHITZ_ASSUMED

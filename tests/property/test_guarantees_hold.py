"""Soundness of guarantees: no sample and no attack contradicts what is claimed of random small models."""

import math
from dataclasses import replace

import pytest

from tests.soundness import KINDS, Effort, certify, check_grid, check_real, checked_cases, draw_cases

CHUNKS, MODELS_PER_CHUNK, SAMPLES = 2, 18, 300
#: Certificates try so few radii only, and attacks stay within them, to be quick; the benchmark does all there is.
EFFORT = Effort(SAMPLES, attacks=(1.0,), checks=4)
#: Another seed than the benchmark's: other models.
SEED = 1


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_contradicts_a_guarantee(chunk, tmp_path):
    numbers = range(chunk * MODELS_PER_CHUNK, (chunk + 1) * MODELS_PER_CHUNK)
    checked = list(checked_cases(SEED, numbers, tmp_path, EFFORT))
    assert [(one.case.number, one.real, one.grid) for one in checked if one.violations] == []
    assert len(checked) == MODELS_PER_CHUNK
    # Models without a radius, or without a game that brute force can solve, are few.
    assert sum(one.real is None for one in checked) < MODELS_PER_CHUNK / 10
    assert sum(one.grid is not None for one in checked) > MODELS_PER_CHUNK / 2


def test_claims_that_go_too_far_are_noticed(tmp_path):
    attacked = []
    # One model of each head, and each norm once.
    for case, _ in draw_cases(SEED, range(0, len(KINDS), 4), tmp_path):
        certificate = certify(case, EFFORT.checks)
        honest = check_real(case, certificate, SAMPLES, seed=0)
        bolder = replace(certificate, margin_bound=honest.least + 1e-9)
        assert check_real(case, bolder, SAMPLES, seed=0, attacks=()).below > 0
        if honest.upper < math.inf:
            wider = check_real(case, replace(certificate, radius=1.5 * honest.upper), SAMPLES, seed=0)
            assert wider.below > 0
            attacked.append(wider.attacks)
    assert any(attacked)


def test_a_wrong_answer_of_the_grid_is_noticed(tmp_path):
    cases = [case for case, _ in draw_cases(SEED, range(len(KINDS)), tmp_path) if case.truth is not None]
    for case in cases:
        assert check_grid(case, SAMPLES, seed=0).violations == 0
        fmsr = case.truth.fmsr
        beyond = replace(case, truth=replace(case.truth, fmsr=1 if fmsr is None else fmsr + 1))
        assert check_grid(beyond, SAMPLES, seed=0).wrong
    assert cases

"""Results are of limited size, in every list, text and number; SQL has the same limits in bytes."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from common.wire import (
    MOST_COORDINATES,
    MOST_INFO_BYTES,
    MOST_NAME,
    MOST_PIXELS,
    MOST_REASON,
    MOST_RESULT_BYTES,
    Bounded,
    Explored,
    Prepared,
    RealWitness,
    Witness,
    WorkerInfo,
)

FUNCTIONS = Path(__file__).parents[2] / "migrations" / "functions"
PREPARED = {"clip_digest": "a" * 64, "region_sizes": [[[2, 1]]], "predicted": "walk", "margin": 1.0}
WITNESS = {"point": [[0, 1]], "cost": 1, "replayed": True, "margin": -1.0, "predicted": "run"}
REAL = {"moves": [[0, 0.5]], "distance": 0.5, "replayed": True, "margin": -1.0, "predicted": "run"}
EXPLORED = {"stop": "exhausted", "position": None, "explored": 1, "reached": 1, "undecided": None, "witness": None}
BOUNDED = {"radius": 0.0, "margin_bound": None, "checks": 1, "stop": "exhausted", "reason": "none"}
INFO = {"host": "h", "pid": 1, "device": "cpu", "versions": {}}


@pytest.mark.parametrize(
    ("document", "legal", "changes"),
    [
        (Prepared, PREPARED, {"region_sizes": [[[2, 1]]] * 1024}),
        (Prepared, PREPARED, {"region_sizes": [[[1, MOST_PIXELS + 1]]]}),
        (Prepared, PREPARED, {"region_sizes": [[[MOST_PIXELS + 1, 1]]]}),
        (Prepared, PREPARED, {"region_sizes": [[[0, 1]]]}),
        (Prepared, PREPARED, {"predicted": "x" * (MOST_NAME + 1)}),
        (Prepared, PREPARED, {"more": 1}),
        (Witness, WITNESS, {"cost": 2**63}),
        (Witness, WITNESS, {"point": [[-1, 1]]}),
        (Witness, WITNESS, {"point": [[0, 2**31]]}),
        (RealWitness, REAL, {"moves": [[0, 0.5]] * (MOST_COORDINATES + 1)}),
        (RealWitness, REAL, {"moves": [[0, float("inf")]]}),
        (Explored, EXPLORED, {"explored": 2**63}),
        (Explored, EXPLORED, {"undecided": -1}),
        (Bounded, BOUNDED, {"reason": "x" * (MOST_REASON + 1)}),
        (WorkerInfo, INFO, {"versions": {str(number): 1 for number in range(101)}}),
        (WorkerInfo, INFO, {"device": "x" * (MOST_NAME + 1)}),
    ],
)
def test_what_is_too_much_is_refused(document: Any, legal: dict[str, Any], changes: dict[str, Any]) -> None:
    document.model_validate(legal)
    with pytest.raises(ValidationError):
        document.model_validate({**legal, **changes})


@pytest.mark.parametrize(("name", "most"), [("worker_append", MOST_RESULT_BYTES), ("worker_beat", MOST_INFO_BYTES)])
def test_the_database_has_the_same_limits(name: str, most: int) -> None:
    text = (FUNCTIONS / f"{name}.sql").read_text(encoding="utf-8")
    assert f"> {most} " in text.replace("\n", " ")
    assert f"{most} are allowed" in text


def test_the_database_keeps_as_much_of_a_reason() -> None:
    assert f"left(p_error, {MOST_REASON})" in (FUNCTIONS / "worker_append.sql").read_text(encoding="utf-8")

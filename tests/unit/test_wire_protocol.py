"""What crosses the process boundary is written down for each protocol, and changes only with its number."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from common.vocab import TaskKind
from common.wire import PROTOCOL, RESULT_TYPES, Message, protocol_problem
from tests.freeze_wire import DOCUMENTS, FROZEN, frozen_path, schemas

#: What each protocol that was ever written down may say, by number.
WRITTEN: dict[int, dict[str, Any]] = {
    int(path.stem.partition("-")[2]): json.loads(path.read_text(encoding="utf-8"))
    for path in FROZEN.glob("wire-*.json")
}
REMEDY = "raise PROTOCOL in common/wire.py, then: .venv/bin/python -m tests.freeze_wire"


def examples(protocol: int) -> list[tuple[str, dict[str, Any]]]:
    return [(name, example) for name, several in WRITTEN[protocol]["examples"].items() for example in several]


def test_the_present_protocol_is_written_down_and_is_the_newest() -> None:
    assert frozen_path(PROTOCOL).exists(), REMEDY
    assert max(WRITTEN) == PROTOCOL


def test_no_document_has_changed_since_its_protocol_was_written_down() -> None:
    written = WRITTEN[PROTOCOL]["schemas"]
    present = schemas()
    changed = sorted(name for name in written.keys() | present.keys() if written.get(name) != present.get(name))
    assert changed == [], f"these documents have changed: {REMEDY}"


@pytest.mark.parametrize(("name", "example"), examples(PROTOCOL))
def test_written_examples_are_read_and_said_again_as_they_are(name: str, example: dict[str, Any]) -> None:
    said = DOCUMENTS[name].model_validate(example).model_dump(mode="json")
    assert {field: said[field] for field in example} == example


def test_every_field_is_said_in_an_example() -> None:
    for name, document in DOCUMENTS.items():
        several = WRITTEN[PROTOCOL]["examples"][name]
        said = {field for example in several for field, value in example.items() if value is not None}
        assert said == set(document.model_fields), name


@pytest.mark.parametrize("protocol", sorted(WRITTEN))
def test_results_of_every_written_protocol_can_still_be_merged(protocol: int) -> None:
    """Results that older workers have appended wait in the database while it is upgraded."""
    names = {document.__name__: document for document in RESULT_TYPES.values()}
    read: list[BaseModel] = [names[name].model_validate(said) for name, said in examples(protocol) if name in names]
    assert len({type(document) for document in read}) == len(TaskKind)


def test_a_field_that_nobody_knows_is_refused() -> None:
    for name, example in examples(PROTOCOL):
        with pytest.raises(ValidationError, match="of_another_age"):
            DOCUMENTS[name].model_validate({**example, "of_another_age": 1})


def test_a_message_of_another_age_is_refused_with_what_to_do() -> None:
    assert protocol_problem(Message(protocol=PROTOCOL, task=1).protocol) is None
    older, newer = protocol_problem(PROTOCOL - 1), protocol_problem(PROTOCOL + 1)
    assert older is not None
    assert newer is not None
    assert older == (
        f"its scheduler is of an older version, with protocol {PROTOCOL - 1} where this worker has {PROTOCOL};"
        " install the newer version there too, run: flowcert db upgrade, and start both again"
    )
    assert "of a newer version" in newer
    assert "install the newer version here too" in newer


def test_frozen_files_are_explained() -> None:
    explained = (FROZEN / "README.md").read_text(encoding="utf-8")
    for path in sorted(FROZEN.iterdir()):
        assert path.name == "README.md" or f"`{path.name}`" in explained, path.name

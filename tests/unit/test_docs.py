"""Holds the documents to the code: words, settings, links, file names and targets that they mention must exist."""

import re
from enum import StrEnum
from pathlib import Path

import pytest

from common import vocab
from common.features import PartitionKind
from common.settings import Settings
from docs.site.states import transitions

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
ENUMS = [words for words in vars(vocab).values() if isinstance(words, type) and issubclass(words, StrEnum)]
ENUMS = [PartitionKind, *(words for words in ENUMS if words is not StrEnum)]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _name(path: object) -> str:
    return path.name if isinstance(path, Path) else str(path)


@pytest.mark.parametrize("words", ENUMS, ids=lambda words: words.__name__)
def test_every_word_of_the_vocabulary_is_explained(words: type[StrEnum]) -> None:
    quoted = set(re.findall(r"`([^`\n]+)`", _text(ROOT / "docs/glossary.md") + _text(ROOT / "docs/state-machine.md")))
    explained = quoted | {word.partition(":")[0] for word in quoted}
    assert {str(word) for word in words} <= explained


@pytest.mark.parametrize(
    ("title", "words"), [("task", vocab.TaskState), ("clip", vocab.VideoStatus), ("job", vocab.JobStatus)]
)
def test_every_state_has_a_transition_and_pictures_show_each(title: str, words: type[StrEnum]) -> None:
    found = transitions(_text(ROOT / "docs/state-machine.md"))[title]
    assert {str(word) for word in words} <= {target for _, target in found}
    drawn = re.findall(r'id="([^"→]+)→([^"]+)" class="edge"', _text(ROOT / f"docs/pictures/states-{title}.svg"))
    assert set(drawn) == set(found), "run: python docs/site/states.py"


def test_the_settings_are_listed_as_they_are() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", _text(ROOT / "docs/settings.md"), re.MULTILINE)
    expected = []
    for name, field in Settings.model_fields.items():
        default = "none" if field.default in (None, ()) else f"`{field.default}`"
        if name == "data_dir":
            home = Settings.model_fields[name].get_default(call_default_factory=True)
            default = f"`~/{home.relative_to(Path.home())}`"
        expected.append((f"FLOWCERT_{name.upper()}", default, field.description))
    assert rows == expected


@pytest.mark.parametrize("path", sorted((ROOT / "migrations").glob("*/*.sql")), ids=_name)
def test_views_and_functions_say_what_they_are(path: Path) -> None:
    assert re.match(r"-- [A-Z]?\S.{20,}", _text(path))


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _text(path)):
        if target.startswith("https://"):
            continue
        name, _, heading = target.partition("#")
        linked = (path.parent / name) if name else path
        assert linked.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", _text(linked), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}, target


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_files_and_functions_that_are_named_exist(path: Path) -> None:
    quoted = re.findall(r"`([^`\n]+)`", _text(path))
    for name in quoted:
        if re.fullmatch(r"(common|scheduler|worker|migrations|examples|tests|benchmarks)/[\w/.]+", name):
            assert (ROOT / name).exists(), name
        elif match := re.fullmatch(r"((?:common|scheduler|worker)(?:\.\w+)+)", name):
            assert _exists(match[1]), name
        elif name.startswith("make "):
            assert re.search(rf"^{name.split()[1]}:", _text(ROOT / "Makefile"), re.MULTILINE), name


def test_functions_named_beside_a_module_exist() -> None:
    for module, function in re.findall(r"`(scheduler[\w.]+)` \(`(\w+)`\)", _text(ROOT / "docs/state-machine.md")):
        sources = [ROOT / f"{module.replace('.', '/')}.py", *(ROOT / module.replace(".", "/")).glob("*.py")]
        assert any(f"def {function}(" in _text(source) for source in sources if source.is_file()), (module, function)


def _exists(dotted: str) -> bool:
    """Whether a dotted name is a module or package, or a name defined at the top of one."""
    whole = ROOT / dotted.replace(".", "/")
    if whole.is_dir() or whole.with_suffix(".py").is_file():
        return True
    parent, name = whole.parent, whole.name
    sources = [parent.with_suffix(".py"), *parent.glob("*.py")]
    return any(
        re.search(rf"^(def|class) {name}\b", _text(source), re.MULTILINE) for source in sources if source.is_file()
    )


@pytest.mark.parametrize("path", DECISIONS, ids=_name)
def test_decisions_have_their_four_parts(path: Path) -> None:
    assert re.match(rf"# {int(path.name[:4])}\. ", _text(path))
    parts = re.findall(r"^\*\*(\w+)[.:]\*\*", _text(path), re.MULTILINE)
    assert parts == ["Status", "Context", "Decision", "Consequences"]


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_every_document_has_its_place_in_the_site() -> None:
    navigation = _text(ROOT / "mkdocs.yml").partition("\nnav:\n")[2]
    pages = set(re.findall(r"[\w/-]+\.md", navigation))
    decided = {f"decisions/{path.name}" for path in DECISIONS}
    assert pages | decided == {
        *(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")),
        *(page for page in pages if (ROOT / page).exists()),
    }

"""A file counts as inside a root by where it really lies; what may be imported is named, or it is not."""

from pathlib import Path

import pytest

from common.confine import outside
from common.errors import InputError
from common.settings import Settings, read_settings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a file, next to a secret, with links of all kinds."""
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    (root / "deep" / "clip.avi").touch()
    (tmp_path / "secret").touch()
    (tmp_path / "root2").mkdir()
    (root / "inside").symlink_to(root / "deep")
    (root / "file").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    (root / "relative").symlink_to("../secret")
    (root / "loop").symlink_to(root / "loop")
    (tmp_path / "alias").symlink_to(root)
    return root


@pytest.mark.parametrize("path", ["deep/clip.avi", "inside/clip.avi", "deep/../deep/clip.avi", "none.avi", "."])
def test_what_really_lies_in_a_root_is_inside(root: Path, path: str) -> None:
    assert outside(root / path, [root]) is None
    # A root may be a link itself, and so may the way to the file.
    assert outside(root / path, [root.parent / "alias"]) is None
    assert outside(root.parent / "alias" / path, [Path("/nowhere"), root]) is None


@pytest.mark.parametrize(
    "path", ["../secret", "file", "folder/secret", "relative", "inside/../../secret", "/etc/passwd", "../root2/x", "..",
             "folder/none", "/proc/self/root/etc/passwd", "/dev/zero"],
)  # fmt: skip
def test_what_lies_elsewhere_is_outside(root: Path, path: str) -> None:
    assert outside(root / path, [root]) == "lies outside the data roots (FLOWCERT_DATA_ROOTS)"
    assert outside(root / path, []) is None


@pytest.mark.parametrize("path", ["loop", "loop/x", "a\0b"])
def test_what_cannot_be_followed_is_not_inside(root: Path, path: str) -> None:
    assert outside(root / path, [root]) is not None


def test_roots_and_factories_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWCERT_DATA_ROOTS", "/data:/more")
    monkeypatch.setenv("FLOWCERT_MODEL_FACTORIES", "mine.nets:make, other:*")
    settings = read_settings()
    assert settings.data_roots == (Path("/data"), Path("/more"))
    allowed = ("mine.nets:make", "other:a", "mine.nets:*", "mine.nets:make2", "mine:make", "other.more:a", "os:system")
    assert [settings.allows_factory(name) for name in allowed] == [True, True, False, False, False, False, False]
    assert not Settings(model_factories=()).allows_factory("os:system")
    assert Settings(model_factories="*").allows_factory("os:system")
    for name, value, problem in (
        ("DATA_ROOTS", "data", "data is not an absolute path"),
        ("MODEL_FACTORIES", "mine", "'mine' is neither module:callable nor module:*"),
        ("MODEL_FACTORIES", "*:*", "is neither"),
    ):
        with monkeypatch.context() as changed:
            changed.setenv(f"FLOWCERT_{name}", value)
            with pytest.raises(InputError, match=f"FLOWCERT_{name}: .*{problem}".replace("*:", r"\*:")):
                read_settings()

"""No group of clips is on both sides of a split, and what a split cannot promise is said."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from common.groups import group_of
from worker.training.groups import shared_group, split_clips
from worker.training.request import Clip


def clip(label, group, number):
    return Clip(label=label, path=Path(f"/data/{label}/v_{label}_g{group:02d}_c{number:02d}.avi"))


def clips_of(groups):
    return [clip(label, group, number) for label, group, many in groups for number in range(1, many + 1)]


GROUPS = st.lists(
    st.tuples(st.sampled_from(["A", "B", "C"]), st.integers(1, 25), st.integers(1, 7)),
    min_size=1, max_size=30, unique_by=lambda group: group[:2],
)  # fmt: skip


@given(GROUPS, st.floats(0, 0.99), st.integers(0, 99))
@settings(deadline=None)
def test_a_drawn_split_keeps_groups_together_and_every_class_in_training(groups, share, seed):
    clips = clips_of(groups)
    split = split_clips(clips, share, None, seed)
    assert sorted(split.train + split.validation) == list(range(len(clips)))
    assert shared_group([clips[i] for i in split.train], [clips[i] for i in split.validation]) is None
    assert {clips[i].label for i in split.train} == {label for label, _, _ in groups}
    assert split == split_clips(clips, share, None, seed)
    if share == 0:
        assert split.validation == ()


def test_a_drawn_split_has_about_its_share_of_each_class():
    clips = clips_of([(label, group, 4) for label in "AB" for group in range(1, 26)])
    first, second = (split_clips(clips, 0.2, None, seed) for seed in (0, 1))
    assert Counter(clips[i].label for i in first.validation) == {"A": 20, "B": 20}
    assert first.validation != second.validation
    assert first.notes == ("10 of 50 groups validate; no group is on both sides",)


def test_numbered_groups_are_set_aside_in_every_class():
    clips = clips_of([(label, group, 2) for label in "AB" for group in range(1, 26)])
    split = split_clips(clips, 0.5, range(1, 8), seed=0)
    assert {(clips[i].label, group_of(clips[i].label, clips[i].path)[1]) for i in split.validation} == {
        (label, f"g{number}") for label in "AB" for number in range(1, 8)
    }


def test_groups_that_cannot_be_set_aside_are_refused():
    clips = clips_of([("A", 1, 2), ("A", 2, 1), ("B", 2, 3)])
    with pytest.raises(InputError, match="no clip is of group 9"):
        split_clips(clips, 0.2, [2, 9], seed=0)
    with pytest.raises(InputError, match="'B' would have no clip left"):
        split_clips(clips, 0.2, [2], seed=0)
    other = Clip(label="A", path=Path("/data/A/holiday.mp4"))
    with pytest.raises(InputError, match=r"holiday\.mp4 has no group"):
        split_clips([*clips, other], 0.2, [1], seed=0)


def test_clips_of_other_names_count_alone_and_that_this_may_leak_is_said():
    clips = [Clip(label="A", path=Path(f"/data/A/{number}.mp4")) for number in range(10)]
    split = split_clips(clips, 0.3, None, seed=0)
    assert len(split.validation) == 3
    assert any("a random split leaks" in note for note in split.notes)


def test_that_nothing_is_set_aside_is_said():
    assert "nothing is said" in split_clips(clips_of([("A", 1, 2)]), 0.5, None, seed=0).notes[0]


def test_groups_of_two_classes_are_not_the_same():
    assert shared_group([clip("A", 1, 1)], [clip("B", 1, 1)]) is None
    assert shared_group([clip("A", 1, 1)], [clip("B", 1, 1), clip("A", 1, 2)]) == ("A", "g1")

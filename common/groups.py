"""Decides which group a clip is of: UCF101 cut the clips ``v_Class_gNN_cMM`` of one group from the same footage.

They show the same person in the same place, so what is measured on them is not independent.
"""

from __future__ import annotations

import re
from pathlib import PurePath

_NAME = re.compile(r"v_.+_g(\d+)_c\d+")

#: Label of a clip, and the group's name within that class.
Group = tuple[str, str]


def group_number(path: str | PurePath) -> int | None:
    """Number of the group that a clip's file is named after; None for a file of another name."""
    match = _NAME.fullmatch(PurePath(path).stem)
    return None if match is None else int(match[1])


def group_of(label: str, path: str | PurePath) -> Group:
    """A clip's group, ``gN`` of its class; a clip of another name is a group of its own, named after its path."""
    number = group_number(path)
    return label, str(path) if number is None else f"g{number}"

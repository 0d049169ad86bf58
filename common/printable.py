"""Decides how text from elsewhere is shown: nothing in it may act on a terminal, break a line or turn one round.

File names, class names and what workers say of themselves may hold anything. Names are refused at the door where they
are not printable; whatever is printed all the same is written with escapes.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

#: Control characters, separators of lines and paragraphs, what sets or overrides the direction of writing, surrogates.
_ACTING = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff]")
#: Characters of a value that an error quotes.
_QUOTED = 200


def is_printable(text: str) -> bool:
    """Whether a text is one line that shows as it is read."""
    return _ACTING.search(text) is None


def visible(text: str) -> str:
    r"""Write a text's unprintable characters as escapes such as ``\x1b``; line breaks and tabs stay."""
    return _ACTING.sub(lambda found: found[0] if found[0] in "\n\t" else ascii(found[0])[1:-1], text)


def brief(value: object) -> str:
    """Quote a value in a message: its representation, or the beginning of one that is long."""
    try:
        quoted = visible(repr(value))
    except (RecursionError, ValueError):  # Python refuses to write integers of thousands of digits.
        return f"{type(value).__name__}, too large to show"
    return quoted if len(quoted) <= _QUOTED else f"{quoted[:_QUOTED]}… ({len(quoted):,} characters)"


def _printable(text: str) -> str:
    if not is_printable(text):
        raise PydanticCustomError("unprintable", "has unprintable characters")
    return text


#: A field that is one line of printable text.
Printable = Annotated[str, AfterValidator(_printable)]

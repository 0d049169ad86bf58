"""Decides whether a state dict's pickle may be read: it names nothing but what rebuilds plain tensors.

PyTorch's own restricted unpickler runs no code, but builds whatever sizes it is told of: a hundred bytes can make a
``bytearray``, or a tensor of uninitialised memory, of any number of bytes. So the names are looked at beforehand, in
the pickle's own instructions; none is imported or called here.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from typing import Final

#: Bytes of pickles above which they are no state dict's: one names its tensors and their shapes, a hundred bytes each.
MOST_PICKLED: Final = 2**23
_NAMES: Final = re.compile(
    r"collections OrderedDict"
    r"|torch\._utils _rebuild_(tensor_v2|tensor_v3|parameter)"
    r"|torch (\w+Storage|float\w+|bfloat16|u?int\d+|bool|Size)"
    r"|torch\.storage (TypedStorage|UntypedStorage)"
)
#: Pickles of a file from before PyTorch 1.6: magic number, version, the writer's machine, the state dict.
_OLD_PICKLES: Final = 4


def unsuitable(data: bytes) -> str | None:
    """Say what in a ``.pt`` file's pickles is no part of a state dict; None when nothing is."""
    try:
        if zipfile.is_zipfile(io.BytesIO(data)):
            return _in_archive(zipfile.ZipFile(io.BytesIO(data)))
        stream, start = io.BytesIO(data[: MOST_PICKLED + 1]), data[:1]
        if start != b"\x80":
            return "it is no pickle"
        return next((found for _ in range(_OLD_PICKLES) if (found := _named(stream)) is not None), None)
    except (zipfile.BadZipFile, EOFError, LookupError, NotImplementedError, OSError, RuntimeError, ValueError):
        return "it is damaged"


def _in_archive(archive: zipfile.ZipFile) -> str | None:
    pickled = [entry for entry in archive.infolist() if entry.filename.rpartition("/")[2] == "data.pkl"]
    for entry in pickled:
        if entry.file_size > MOST_PICKLED:
            return f"it has more than {MOST_PICKLED} bytes of pickles"
        with archive.open(entry) as opened:
            found = _named(io.BytesIO(opened.read(MOST_PICKLED)))
        if found is not None:
            return found
    return None if pickled else "it is an archive of something else"


def _named(stream: io.BytesIO) -> str | None:
    """Say which name of one pickle is not a state dict's; the stream is left behind it."""
    for operation, argument, _ in pickletools.genops(stream):
        if operation.name in ("GLOBAL", "INST") and not _NAMES.fullmatch(str(argument)):
            return f"it names {str(argument).replace(' ', '.')}"
        if operation.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
            return "it names something indirectly"
    return None

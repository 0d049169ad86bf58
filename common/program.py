"""Decides which version of the program this is: a digest of everything that can change what a worker computes.

It covers the sources of ``common`` and ``worker`` and the releases of the libraries that do their arithmetic, and is
computed from the files, without importing any of them.
"""

from __future__ import annotations

import hashlib
import importlib.util
from importlib import metadata
from pathlib import Path

_PACKAGES = ("common", "worker")
_LIBRARIES = ("numba", "numpy", "opencv-python-headless", "torch")


def program_digest() -> str:
    """SHA-256 of the program as it lies on disk now, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for folder in _folders(package):
            for path in sorted(folder.rglob("*.py")):
                source = path.read_bytes()
                digest.update(f"{package}/{path.relative_to(folder).as_posix()}\0{len(source)}\0".encode())
                digest.update(source)
    for library in _LIBRARIES:
        digest.update(f"{library}=={_release(library)}\0".encode())
    return digest.hexdigest()


def _folders(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    return sorted(Path(folder) for folder in (spec.submodule_search_locations or ())) if spec is not None else []


def _release(library: str) -> str:
    """The release of a library; its builds for CPUs and for CUDA count as one, so that a fleet may have both."""
    try:
        return metadata.version(library).partition("+")[0]
    except metadata.PackageNotFoundError:
        return "absent"

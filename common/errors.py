"""Defines every error that Flowcert raises on purpose, and how others are told in one line.

::

    FlowcertError                  anything we raise on purpose; its text is one line a user can act on
    ├── InputError                 the user's file, field or option is wrong
    │   ├── ClipError              one clip of a job is unusable; the job's other clips go on
    │   └── HostError              a file on this host is not the job's; another host may have the right one
    ├── NumericalError             NaN or infinity where a number was needed; never a verdict
    ├── SchemaError                the database is not at the schema this program needs
    ├── ServerError                an embedded server could not be started or reached
    ├── DeviceMemoryError          the device has no memory for the smallest batch; another worker's may
    └── IntegrityError             a result contradicts what is already proved
"""

from __future__ import annotations


class FlowcertError(Exception):
    """Anything Flowcert raises on purpose; the text is one line that says what, where and what to do."""


class InputError(FlowcertError):
    """A file, field or option given by the user is wrong.

    Parameters
    ----------
    where : the field, option or file that is wrong, as the user wrote it.
    problem : what is wrong with it and what would be right.

    """

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")
        self.where = where
        self.problem = problem


class ClipError(InputError):
    """One clip cannot be used; the job's other clips go on."""


class HostError(InputError):
    """A file on this host is missing or not the one the job was submitted with; another host may have the right one."""


class NumericalError(FlowcertError):
    """A model or flow gave NaN or infinity; this is an error, never a verdict."""


class SchemaError(FlowcertError):
    """The database schema is not at the revision this program needs."""


class ServerError(FlowcertError):
    """An embedded server could not be started or reached."""


class DeviceMemoryError(FlowcertError):
    """The device a worker computes on has no memory for the smallest batch; another worker's may have it."""


class IntegrityError(FlowcertError):
    """A result contradicts what is already proved; the clip is quarantined, nothing is clamped."""


def first_line(error: BaseException | None) -> str:
    """What an error says first, never empty; of a database's error, ask for its ``orig``: what the driver said."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def named_line(error: BaseException) -> str:
    """The same with the error's kind in front: of code that is not ours, what it says alone may say little."""
    return f"{type(error).__name__}: {error}".splitlines()[0]

"""Turns the process it is run in into a server: sets who it is and when it dies, then executes the program.

Run as a script: ``python -I -S child.py PARENT SIGNAL ACCOUNT DIRECTORY PROGRAM ARGUMENT...``

``PARENT`` is the launcher's process id and ``SIGNAL`` what the kernel sends when the launcher's thread dies.
``ACCOUNT`` is ``-`` to stay as we are, or the name under which PostgreSQL runs, since it refuses root;
``DIRECTORY`` is then given to whoever it runs as. A script of its own, not code between fork and exec in a
launcher that may have threads.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _prctl(option: int, *values: int) -> None:
    padded = (*values, 0, 0, 0, 0)[:4]
    _check(_libc.prctl(option, *(ctypes.c_ulong(value) for value in padded)))


def _enter_namespace(account: pwd.struct_passwd) -> None:
    """Be `account` inside a new user namespace, and still the caller, without capabilities, for the files outside."""
    user, group = os.geteuid(), os.getegid()
    _check(_libc.unshare(_CLONE_NEWUSER))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{account.pw_uid} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{account.pw_gid} {group} 1")


def _namespace_works(account: pwd.struct_passwd, program: str, directory: str) -> bool:
    """Try the namespace in a child: there is no way back from one that is half made, or reaches too little."""
    child = os.fork()
    if child == 0:
        try:
            _enter_namespace(account)
            reached = os.access(program, os.X_OK) and os.access(Path(directory).parent, os.W_OK | os.X_OK)
            os._exit(0 if reached else 1)
        except OSError:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _become(account: pwd.struct_passwd) -> None:
    """Be `account` for good, keeping the one capability that reaches programs and data below root's directories."""
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    bit = 1 << _CAP_DAC_OVERRIDE
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    _check(_libc.capset(header, sets))
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE)


def _give(directory: str, user: int, group: int) -> None:
    """Make `user` the owner of `directory`, which the other of the two ways may have left to somebody else."""
    if not Path(directory).exists() or Path(directory).stat().st_uid == user:
        return
    for folder, _, files in os.walk(directory, topdown=False):
        for name in files:
            os.chown(Path(folder) / name, user, group, follow_symlinks=False)
        os.chown(folder, user, group)


def _switch(name: str, directory: str, program: str) -> None:
    account = pwd.getpwnam(name)
    if _namespace_works(account, program, directory):
        _give(directory, os.geteuid(), os.getegid())
        _enter_namespace(account)
    else:
        _give(directory, account.pw_uid, account.pw_gid)
        _become(account)


def main(parent: int, signal: int, account: str, directory: str, command: list[str]) -> None:
    """Become the server; returns only by raising.

    Raises
    ------
    OSError : the kernel refused a step, or the program cannot be executed.

    """
    if account != "-":
        _switch(account, directory, command[0])
    # Last, since a change of user clears it; then look again, since the launcher may have died before it was set.
    _prctl(_PR_SET_PDEATHSIG, signal)
    if os.getppid() != parent:
        sys.exit("the launcher ended")
    os.execv(command[0], command)  # noqa: S606 - replacing this process by the server is the point.


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:])
    except (OSError, KeyError) as error:
        sys.exit(f"FATAL: cannot become {sys.argv[3]}: {error}")

"""Run a program with what `subprocess` cannot set up.

    python -m app.local.launch [--tethered] [--as-owner-of FOLDER] COMMAND...

--tethered sends the program SIGTERM when its parent dies, so that nothing survives a killed
supervisor. --as-owner-of runs it as the owner of FOLDER if the current user is root.

Both need system calls of Linux, which Python's standard library does not offer; elsewhere the
program runs without them. See prctl(2), capabilities(7) and <linux/capability.h>.
"""

import argparse
import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_GET_PDEATHSIG = 2
PR_SET_SECUREBITS = 28
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
LINUX_CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    """One half of the 64 capabilities. Those that are used here are in the first half."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    """Raise OSError if a system call failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _permitted_capabilities() -> int:
    header = _CapabilityHeader(LINUX_CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)()
    _check(_libc.capget(ctypes.byref(header), ctypes.byref(data)))
    return int(data[0].permitted)


def _set_capabilities(*, effective: int, permitted: int) -> None:
    header = _CapabilityHeader(LINUX_CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)(_CapabilityData(effective, permitted, effective))
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(data)))


def _tether() -> int:
    """Return the signal that this process receives when its parent dies, or 0."""
    number = ctypes.c_int()
    _check(_libc.prctl(PR_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0))
    return number.value


def give_up_root(folder: Path, program: Path) -> None:
    """Become the owner of `folder`, with access to it and to `program` and no further rights.

    If they are below a folder that only root may enter, the least capability that gives access is
    retained across exec: to search any folder or, if root itself does not have that (as in a
    container), to override permissions. No permission of a file is changed.

    Raises:
        PermissionError: Neither capability is enough.
    """
    owner = folder.stat()
    # Without this bit, access(2) ignores capabilities. PostgreSQL checks its files with it.
    _check(_libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0))
    os.setgroups([])
    os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
    os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)

    permitted = _permitted_capabilities()
    for capability in (None, CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE):
        retained = 0 if capability is None else 1 << capability
        if retained & ~permitted:
            continue
        _set_capabilities(effective=retained, permitted=permitted)
        if os.access(program, os.R_OK | os.X_OK) and os.access(folder, os.W_OK | os.X_OK):
            break
    else:
        raise PermissionError(f"user {owner.st_uid} has no access to {program} or {folder}")

    _set_capabilities(effective=retained, permitted=retained)
    if capability is not None:
        _check(_libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0))
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def main() -> None:
    """Parse the arguments and run the program in place of this one."""
    parser = argparse.ArgumentParser(prog="app.local.launch", description=__doc__)
    parser.add_argument("--tethered", action="store_true")
    parser.add_argument("--as-owner-of", type=Path, metavar="FOLDER")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    arguments = parser.parse_args()

    if sys.platform == "linux":
        # Changing the user clears the signal, also one that an outer launch has set. So read it
        # first and set it last.
        tether = signal.SIGTERM.value if arguments.tethered else _tether()
        if arguments.as_owner_of and os.geteuid() == 0:
            give_up_root(arguments.as_owner_of, Path(arguments.command[0]))
        _check(_libc.prctl(PR_SET_PDEATHSIG, tether, 0, 0, 0))
    os.execv(arguments.command[0], arguments.command)  # noqa: S606 - running it is the purpose


if __name__ == "__main__":
    main()

"""Starts another program in this one's place, with what `subprocess` cannot give it:

    python -m app.local.launch [--tethered] [--as-owner-of FOLDER] COMMAND...

`--tethered` sends it SIGTERM when its parent dies, so that nothing outlives a killed supervisor.
`--as-owner-of` gives up root for the owner of FOLDER; it does nothing where we are not root.

Linux only; elsewhere the program is run as it is.
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
    """One half of the 64 capabilities; both that we ever keep are in the first."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _permitted_capabilities() -> int:
    header = _CapabilityHeader(LINUX_CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)()
    _checked(_libc.capget(ctypes.byref(header), ctypes.byref(data)))
    return int(data[0].permitted)


def _set_capabilities(*, effective: int, permitted: int) -> None:
    header = _CapabilityHeader(LINUX_CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)(_CapabilityData(effective, permitted, effective))
    _checked(_libc.capset(ctypes.byref(header), ctypes.byref(data)))


def _tether() -> int:
    """The signal that we get when our parent dies; 0 if none."""
    number = ctypes.c_int()
    _checked(_libc.prctl(PR_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0))
    return number.value


def give_up_root(folder: Path, program: Path) -> None:
    """Become the owner of `folder`, able to reach it and `program` and to do nothing more.

    Where they lie under a folder that only root may enter, and no permission may be changed, the
    least capability that gets there is kept across `exec`: to search any folder, or, where root
    itself has no such right (as in a container), to override permissions.
    Raises PermissionError where neither is enough.
    """
    owner = folder.stat()
    # Without this bit access(2), by which PostgreSQL checks its own files, ignores capabilities.
    _checked(_libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0))
    os.setgroups([])
    os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
    os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)

    permitted = _permitted_capabilities()
    for capability in (None, CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE):
        kept = 0 if capability is None else 1 << capability
        if kept & ~permitted:
            continue
        _set_capabilities(effective=kept, permitted=permitted)
        if os.access(program, os.R_OK | os.X_OK) and os.access(folder, os.W_OK | os.X_OK):
            break
    else:
        raise PermissionError(f"the user {owner.st_uid} can reach neither {program} nor {folder}")

    _set_capabilities(effective=kept, permitted=kept)
    if capability is not None:
        _checked(_libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0))
    _checked(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def main() -> None:
    parser = argparse.ArgumentParser(prog="app.local.launch", description=__doc__)
    parser.add_argument("--tethered", action="store_true")
    parser.add_argument("--as-owner-of", type=Path, metavar="FOLDER")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    arguments = parser.parse_args()

    if sys.platform == "linux":
        # Read now and set last, since a change of user takes the tether off, ours or that of a
        # launch which runs this one.
        tether = signal.SIGTERM.value if arguments.tethered else _tether()
        if arguments.as_owner_of and os.geteuid() == 0:
            give_up_root(arguments.as_owner_of, Path(arguments.command[0]))
        _checked(_libc.prctl(PR_SET_PDEATHSIG, tether, 0, 0, 0))
    os.execv(arguments.command[0], arguments.command)  # noqa: S606 - to run it is what we are for


if __name__ == "__main__":
    main()

"""Keeps a test run to itself: its packets, its processes, its end.

Rule: Linux system calls without a helper program, each with the man page that says what it does. They
are made by a worker process before it starts anything, and whatever it starts inherits them.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import socket
import struct
from pathlib import Path
from typing import Final

_CLONE_NEWUSER: Final = 0x10000000  # <linux/sched.h>
_CLONE_NEWNET: Final = 0x40000000
_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>
_PR_SET_CHILD_SUBREAPER: Final = 36
_SIOCGIFFLAGS: Final = 0x8913  # <linux/sockios.h>
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1  # <linux/if.h>
_IFREQ: Final = "16sh22x"  # struct ifreq: name, flags, the rest of the union

_libc = ctypes.CDLL(None, use_errno=True)


class Unconfined(Exception):
    """The network could not be shut off; the message says why and what can be done."""


def confine_network() -> str:
    """Leave this process no network interface but loopback. Returns how, for the log.

    A new network namespace has one interface, lo, which is down (network_namespaces(7)). Without
    the privilege for it, a new user namespace grants it, with the user's own number mapped to itself.
    Call it in a process with one thread. Raises Unconfined if the kernel refuses both while there is
    another interface that is up.
    """
    try:
        _unshare(_CLONE_NEWNET)
        how = "a network namespace with loopback only"
    except OSError as refused:
        uid, gid = os.getuid(), os.getgid()
        try:
            _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
            # user_namespaces(7): an unprivileged process may map its own ids, and the group only
            # once it has given up setgroups(2).
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        except OSError as refused_too:
            up = _interfaces_up()
            if up - {"lo"}:
                raise Unconfined(
                    f"no network namespace: unshare(CLONE_NEWNET) says {refused.strerror!r}, with "
                    f"a user namespace {refused_too.strerror!r}, and {', '.join(sorted(up))} are "
                    f"up. Run as root or allow user namespaces; --unconfined runs the tests all "
                    f"the same, still without the resources that ask for the network."
                ) from refused_too
            return "a machine that has loopback only"
        how = "a user and a network namespace with loopback only"
    _bring_up("lo")
    return how


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parent ends, prctl(2).

    So nothing that a test leaves behind gets away by setsid(2) or by a double fork.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent(number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when the thread that started it ends."""
    _prctl(_PR_SET_PDEATHSIG, number)


def descendants(of: int) -> list[int]:
    """All processes below `of`, children first."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parent = _parent(int(entry.name))
            if parent is not None:
                parents.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [of]
    while todo:
        children = parents.get(todo.pop(0), [])
        found += children
        todo += children
    return found


def describe(pid: int) -> str:
    """One line on a process: its state, what it waits for in the kernel, its command line."""
    status = _read(pid, "stat").rpartition(")")[2].split()
    command = _read(pid, "cmdline").replace("\0", " ").strip()[:300]
    state = status[0] if status else "?"
    return f"{pid} {state} {_read(pid, 'wchan') or '-'} {command or '(no command line)'}"


def catches(pid: int, number: int) -> bool:
    """Whether the process has a handler for a signal (proc(5): SigCgt)."""
    for line in _read(pid, "status").splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text("utf-8", "replace")
    except OSError:  # it has just ended
        return ""


def _parent(pid: int) -> int | None:
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else None


def _unshare(flags: int) -> None:
    if _libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _prctl(option: int, argument: int) -> None:
    zero = ctypes.c_ulong(0)
    if _libc.prctl(option, ctypes.c_ulong(argument), zero, zero, zero) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _interfaces_up() -> set[str]:
    up = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            try:
                if _flags(sock, name) & _IFF_UP:
                    up.add(name)
            except OSError as problem:
                if problem.errno != errno.ENODEV:  # gone since it was listed
                    raise
    return up


def _flags(sock: socket.socket, name: str) -> int:
    answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack(_IFREQ, name.encode(), 0))
    flags: int = struct.unpack(_IFREQ, answer)[1]
    return flags


def _bring_up(name: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        flags = _flags(sock, name) | _IFF_UP
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack(_IFREQ, name.encode(), flags))

"""``os.read``, ``os.write`` and their relatives, cooperative on whatever may keep a thread waiting.

Rules:

* *Regular files go straight to the kernel*; so does everything in a native thread that has no hub.
* *The descriptor keeps its mode.* A blocking one stays blocking for all who share it, and the call on the
  hub's thread does not wait all the same: RWF_NOWAIT (preadv2(2)) says so for this call only. Where that is
  not to be had (terminals; kernels before 6.4; Pythons built for an old C library) a second open file on
  the same pipe or terminal is asked, which is non-blocking and lasts for one call (`_twin`). Only what
  can't be opened twice changes its mode, for that one call.
* *A non-blocking descriptor* raises BlockingIOError as ever. A blocking ``write`` returns when all of it
  has been written, as Linux does.
* *Closing wakes.* Whoever waits for a descriptor that is closed (or overwritten by ``dup2``) is woken
  first, and gets EBADF. The hub's own descriptors can't be closed: nobody but graftlet has opened them.
"""

import errno
import os
import select
import stat
import sys
from operator import index
from typing import Any, Final

from graftlet.core import _original
from graftlet.core._current import hub_or_none
from graftlet.core._hub import Hub
from graftlet.io._process import NativeCall
from graftlet.io._time import Functions
from graftlet.io._wait import READ, WRITE, wait_descriptor

_preadv: Final = _original.preadv
_pwritev: Final = _original.pwritev
_fstat: Final = os.fstat
_get_blocking: Final = os.get_blocking

#: Files of these kinds never keep anybody waiting, in the sense of poll(2).
_ALWAYS_READY: Final = frozenset((stat.S_IFREG, stat.S_IFDIR, stat.S_IFBLK))
#: preadv2(2): what it says of a descriptor, a kernel or a C library that knows no RWF_NOWAIT.
_UNSUPPORTED: Final = frozenset((errno.EOPNOTSUPP, errno.ENOSYS, errno.ESPIPE))
#: One call reads no more (bytes): its buffer is filled with zeros first, whatever comes in.
_LONGEST_READ: Final = 256 * 1024
#: /dev/ptmx: opening that makes another terminal.
_MASTER: Final = os.makedev(5, 2)


class _Platform:
    """What this system can do. Tests take it away."""

    #: 0: there is no RWF_NOWAIT.
    nowait: int = getattr(os, "RWF_NOWAIT", 0)
    #: Opening a file in here makes a second open file of the same pipe or terminal (proc(5)).
    twins: str | None = "/proc/self/fd/" if os.path.isdir("/proc/self/fd") else None


def may_wait(fd: int) -> bool:
    """Whether reading or writing may have to wait: false for regular files, directories, disks.

    Raises: OSError: ``fd`` is no open descriptor.
    """
    return stat.S_IFMT(_fstat(fd).st_mode) not in _ALWAYS_READY


# -- Reading


def read_into(hub: Hub, fd: int, buffers: Any) -> int:
    """As ``os.readv``; parks until there is something to read.

    Raises: BlockingIOError: there is nothing, and the descriptor is in non-blocking mode.
    """
    while True:
        try:
            return _read_now(fd, buffers)
        except BlockingIOError:
            if not _get_blocking(fd):
                raise
        wait_descriptor(hub, fd, READ)


def _read_now(fd: int, buffers: Any) -> int:
    """Read what is there; BlockingIOError if that is nothing, whatever the descriptor's mode."""
    if _Platform.nowait:
        try:
            return _preadv(fd, buffers, -1, _Platform.nowait)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        except NotImplementedError:
            pass  # made for a C library without preadv2
    if not _is_ready(fd, select.POLLIN | select.POLLPRI):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    status = _fstat(fd)
    if stat.S_ISFIFO(status.st_mode) and (twin := _twin(fd, status, os.O_RDONLY)) >= 0:
        # Other readers of a pipe may be faster than we are. (Those of a terminal would be us.)
        try:
            return _original.readv(twin, buffers)
        finally:
            _original.close(twin)
    return _original.readv(fd, buffers)


def _is_ready(fd: int, events: int) -> bool:
    if _original.poll is None:  # pragma: no cover - no platform that has os.readv is known
        lists = ([fd], []) if events & select.POLLIN else ([], [fd])
        return any(_original.select(*lists, [], 0))
    poll = _original.poll()
    poll.register(fd, events)
    return bool(poll.poll(0))


# -- Writing


def write_all(hub: Hub, fd: int, data: Any) -> int:
    """As ``os.write``; parks until all of ``data`` has been written, unless the descriptor is non-blocking.

    Returns: how many bytes were written; less than all only if it is non-blocking, or an error came up in
        the middle (which the next call will meet).

    Raises: BlockingIOError: none at all could be written without waiting.
    """
    with memoryview(data) as view:
        size = view.nbytes
        if not size:
            return _original.write(fd, view)
        done = 0
        with view.cast("B") as octets:
            while True:
                blocking = True
                try:
                    done += _write_now(fd, octets[done:])
                    if done == size:
                        return done
                    blocking = _get_blocking(fd)
                except BlockingIOError:
                    if not (blocking := _get_blocking(fd)) and not done:
                        raise
                except OSError:
                    if not done:
                        raise
                    return done
                if not blocking:
                    return done
                try:
                    wait_descriptor(hub, fd, WRITE)
                except OSError:
                    if not done:
                        raise
                    return done


def _write_now(fd: int, octets: memoryview) -> int:
    """Write what there is room for; BlockingIOError if that is nothing, whatever the descriptor's mode."""
    if _Platform.nowait:
        try:
            return _pwritev(fd, (octets,), -1, _Platform.nowait)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        except NotImplementedError:
            pass
    if not _get_blocking(fd):
        return _original.write(fd, octets)
    status = _fstat(fd)
    if (twin := _twin(fd, status, os.O_WRONLY)) >= 0:
        try:
            return _original.write(twin, octets)
        finally:
            _original.close(twin)
    return _unblocked(fd, _original.write, fd, octets)


def _twin(fd: int, status: os.stat_result, access: int) -> int:
    """A second, non-blocking open file of the same pipe or terminal; -1 if there can't be one."""
    if (
        _Platform.twins is None
        or not (stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode))
        or status.st_rdev == _MASTER
    ):
        return -1
    flags = access | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return _original.open_descriptor(f"{_Platform.twins}{fd}", flags)
    except OSError:
        return -1  # no such right, no more descriptors


def _unblocked(fd: int, function: Any, *args: Any) -> int:
    """``function(*args)`` while blocking descriptor ``fd`` is in non-blocking mode."""
    os.set_blocking(fd, False)
    try:
        result: int = function(*args)
    finally:
        os.set_blocking(fd, True)
    return result


# -- Closing


def forget(fd: int) -> None:
    """Descriptor ``fd`` is about to be closed: wake whoever waits for it.

    Raises: OSError (EBADF): it is the hub's own.
    """
    hub = hub_or_none()
    if hub is None:
        return
    watch = hub.watches.get(fd)
    if watch is not None:
        hub.forget(watch)


class OsFunctions(Functions):
    """What takes the place of functions of module ``os``."""

    __slots__ = ()

    def read(self, fd: int, length: int, /) -> bytes:
        """As ``os.read``; other greenlets run meanwhile."""
        hub = hub_or_none()
        if hub is None or not _concerns_us(fd) or length < 0:
            return _original.read(fd, length)
        buffer = bytearray(min(index(length), _LONGEST_READ))
        count = read_into(hub, index(fd), (buffer,))
        with memoryview(buffer) as view:
            return bytes(view[:count])

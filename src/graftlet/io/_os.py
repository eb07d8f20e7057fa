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
from collections.abc import Callable
from functools import partial
from operator import index
from typing import Any, Final

from graftlet.core import _original
from graftlet.core._current import hub_or_none
from graftlet.core._hub import Hub
from graftlet.io._builtin import Functions
from graftlet.io._native_call import NativeCall
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
LONGEST_READ: Final = 256 * 1024
_SPLICE_F_NONBLOCK: Final = 2  # Python has no name for it
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
    kind = stat.S_IFMT(_fstat(fd).st_mode)
    if kind in _ALWAYS_READY:
        return False
    if kind != stat.S_IFCHR:
        return True
    try:
        os.lseek(fd, 0, os.SEEK_CUR)
    except OSError:
        return True
    return False  # /dev/null and the like


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
    if not is_ready(fd, select.POLLIN | select.POLLPRI):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    status = _fstat(fd)
    if stat.S_ISFIFO(status.st_mode) and (twin := _twin(fd, status, os.O_RDONLY)) >= 0:
        # Other readers of a pipe may be faster than we are. (Those of a terminal would be us.)
        try:
            return _original.readv(twin, buffers)
        finally:
            _original.close(twin)
    return _original.readv(fd, buffers)


def is_ready(fd: int, events: int) -> bool:
    """Whether one of ``events`` of poll(2), an error or a hang-up has come in."""
    if _original.poll is None:  # pragma: no cover - no platform that has os.readv is known
        lists = ([fd], []) if events & select.POLLIN else ([], [fd])
        return any(_original.select(*lists, [], 0))
    poll = _original.poll()
    poll.register(fd, events)
    return bool(poll.poll(0))


# -- Writing


def write_all(hub: Hub, fd: int, data: Any) -> int:
    """As ``os.write``; parks until all of ``data`` has been written, unless ``fd`` is non-blocking.

    Returns: how many bytes were written: all, unless ``fd`` is non-blocking or an error came up in between,
        which the next call will meet.

    Raises: BlockingIOError: nothing could be written, and ``fd`` is non-blocking.
    """
    done = _write_at_once(fd, data)
    if done and done == (len(data) if data.__class__ is bytes else memoryview(data).nbytes):
        return done
    try:
        octets = memoryview(data).cast("B")
    except TypeError:
        return _original.write(fd, data)  # no bytes at all, in either sense
    try:
        with octets:
            while True:
                try:
                    with octets[done:] as rest:
                        done += _write_now(fd, rest)
                except BlockingIOError:
                    if not _get_blocking(fd):
                        raise
                else:
                    if done == len(octets) or not _get_blocking(fd):
                        return done
                wait_descriptor(hub, fd, WRITE)
    except OSError:
        if done:
            return done
        raise


def _write_at_once(fd: int, data: Any) -> int:
    """The usual case of `write_all`, in half the time: there is room. Returns 0 if there is none."""
    if _Platform.nowait:
        try:
            return _pwritev(fd, (data,), -1, _Platform.nowait)
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        except NotImplementedError:
            pass  # made for a C library without pwritev2
    return 0


def _write_now(fd: int, octets: memoryview) -> int:
    """Write what there is room for; BlockingIOError if that is nothing, whatever the descriptor's mode."""
    if _Platform.nowait:
        try:
            return _pwritev(fd, (octets,), -1, _Platform.nowait)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        except NotImplementedError:
            pass  # as above
    if not _get_blocking(fd):
        return _original.write(fd, octets)
    if (twin := _twin(fd, _fstat(fd), os.O_WRONLY)) >= 0:
        try:
            return _original.write(twin, octets)
        finally:
            _original.close(twin)
    return int(unblocked(fd, _original.write, fd, octets))


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


def unblocked(fd: int, function: Any, *args: Any) -> Any:
    """``function(*args)`` while the blocking descriptor ``fd`` is in non-blocking mode."""
    os.set_blocking(fd, False)
    try:
        return function(*args)
    finally:
        os.set_blocking(fd, True)


# -- Opening and closing


class _Opening(NativeCall):
    """A native thread opens one end of a FIFO, and waits for somebody to open the other."""

    __slots__ = ()

    def end(self, wanted: bool) -> None:
        """Nobody must be left with an end that nobody reads."""
        if not wanted and self.error is None:
            _original.close(self.value)


def is_fifo(path: Any, dir_fd: int | None = None) -> bool:
    """Whether opening ``path`` may wait for another process to open it, too."""
    try:
        return stat.S_ISFIFO(os.stat(path, dir_fd=dir_fd).st_mode)
    except (OSError, TypeError, ValueError):
        return False


def forget(fd: int) -> None:
    """Descriptor ``fd`` is about to be closed: wake whoever waits for it."""
    hub = hub_or_none()
    if hub is not None and (watch := hub.watches.get(fd)) is not None:
        hub.forget(watch)


#: The numbers of the standard streams.
STANDARD: Final = (0, 1, 2)
#: Called with one of these numbers when it has become another file's, which may keep its readers waiting
#: where the one before did not.
on_another_file: Final[list[Callable[[int], object]]] = []


def has_another_file(fd: int) -> None:
    """Descriptor ``fd`` has become that of another file."""
    if fd in STANDARD:
        for function in on_another_file:
            function(fd)


def _own_descriptors(hub: Hub) -> list[int]:
    """Those that the hub itself can't do without."""
    poller: Any = hub.poller
    own = [poller._bell.fd] if hasattr(poller, "_bell") else []
    if hasattr(poller, "_epoll"):
        own.append(poller._epoll.fileno())
    return own


class OsFunctions(Functions):
    """What takes the place of functions of module ``os``."""

    __slots__ = ()

    def read(self, fd: int, length: int, /) -> bytes:
        """As ``os.read``; other greenlets run meanwhile."""
        hub = hub_or_none()
        if hub is None or not _concerns_us(fd) or (length := index(length)) <= 0:
            return _original.read(fd, length)
        buffer = bytearray(min(length, LONGEST_READ))
        del buffer[read_into(hub, fd, (buffer,)) :]
        return bytes(buffer)

    def readinto(self, fd: int, buffer: Any, /) -> int:
        """As ``os.readinto``; other greenlets run meanwhile."""
        hub = hub_or_none()
        if hub is None or not _concerns_us(fd) or not _bytes_in((buffer,)):
            assert _original.readinto is not None
            return int(_original.readinto(fd, buffer))
        return read_into(hub, fd, (buffer,))

    def readv(self, fd: int, buffers: Any, /) -> int:
        """As ``os.readv``; other greenlets run meanwhile."""
        hub = hub_or_none()
        if hub is None or not _concerns_us(fd) or not _bytes_in(buffers):
            return _original.readv(fd, buffers)
        return read_into(hub, fd, buffers)

    def write(self, fd: int, data: Any, /) -> int:
        """As ``os.write``; other greenlets run meanwhile."""
        hub = hub_or_none()
        if hub is None or not _concerns_us(fd):
            return _original.write(fd, data)
        return write_all(hub, fd, data)

    def writev(self, fd: int, buffers: Any, /) -> int:
        """As ``os.writev``; other greenlets run meanwhile."""
        hub = hub_or_none()
        if hub is None or not _concerns_us(fd) or not _bytes_in(buffers):
            return _original.writev(fd, buffers)
        return write_all(hub, fd, b"".join(buffers))

    def sendfile(
        self, out_fd: int, in_fd: int, offset: int | None, count: int, *others: Any
    ) -> int:
        """As ``os.sendfile``; other greenlets run meanwhile."""
        hub = hub_or_none()
        if hub is None or not _concerns_us(out_fd) or not _get_blocking(out_fd):
            return _original.sendfile(out_fd, in_fd, offset, count, *others)
        if others or sys.platform != "linux" or _concerns_us(in_fd):
            call = NativeCall(hub, _original.sendfile, out_fd, in_fd, offset, count, *others)
            return int(call.outcome())
        done: int = 0
        try:
            while True:
                start = None if offset is None else offset + done
                try:
                    sent = unblocked(out_fd, _original.sendfile, out_fd, in_fd, start, count - done)
                except BlockingIOError:
                    pass
                else:
                    done += sent
                    # Linux goes on until all is sent, but not into a pipe.
                    if not sent or done >= count or stat.S_ISFIFO(_fstat(out_fd).st_mode):
                        return done
                wait_descriptor(hub, out_fd, WRITE)
        except OSError:
            if done:
                return done
            raise

    def splice(
        self,
        src: int,
        dst: int,
        count: int,
        offset_src: int | None = None,
        offset_dst: int | None = None,
        flags: int = 0,
    ) -> int:
        """As ``os.splice``; other greenlets run meanwhile."""
        assert _original.splice is not None
        move = partial(_original.splice, src, dst, count, offset_src, offset_dst)
        hub = hub_or_none()
        both = (src, select.POLLIN, READ), (dst, select.POLLOUT, WRITE)
        ends = [end for end in both if _concerns_us(end[0])]
        if hub is None or not ends or flags & _SPLICE_F_NONBLOCK:
            return int(move(flags))
        while True:
            try:
                # splice(2): the flag is for pipes, everything else goes by its own mode.
                now = partial(move, flags | _SPLICE_F_NONBLOCK)
                for fd, _, _ in ends:
                    if not stat.S_ISFIFO(_fstat(fd).st_mode) and _get_blocking(fd):
                        now = partial(unblocked, fd, now)
                return int(now())
            except BlockingIOError:
                waited = next((end for end in ends if not is_ready(end[0], end[1])), None)
                if waited is not None and not _get_blocking(waited[0]):
                    raise
            if waited is not None:
                wait_descriptor(hub, waited[0], waited[2])
            else:  # something that poll(2) does not tell
                return int(NativeCall(hub, move, flags).outcome())

    def eventfd_read(self, fd: int) -> int:
        """As ``os.eventfd_read``; other greenlets run meanwhile."""
        hub = hub_or_none()
        counter = bytearray(8)
        if hub is None:
            _original.readv(fd, (counter,))
        else:
            read_into(hub, fd, (counter,))
        return int.from_bytes(counter, sys.byteorder)

    def eventfd_write(self, fd: int, value: int) -> None:
        """As ``os.eventfd_write``; other greenlets run meanwhile."""
        assert _original.eventfd_write is not None
        hub = hub_or_none()
        if hub is None or not _concerns_us(fd) or not _get_blocking(fd):
            _original.eventfd_write(fd, value)
            return
        try:
            unblocked(fd, _original.eventfd_write, fd, value)
        except BlockingIOError:
            # eventfd(2): 2**64 - 1 would be passed; and no poll tells when there is room for ``value``.
            NativeCall(hub, _original.eventfd_write, fd, value).outcome()

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """As ``os.open``; other greenlets run while a FIFO waits for its other end."""
        hub = hub_or_none()
        if hub is None or not is_fifo(path, dir_fd) or flags & os.O_NONBLOCK:
            return _original.open_descriptor(path, flags, mode, dir_fd=dir_fd)
        call = partial(_original.open_descriptor, path, flags, mode, dir_fd=dir_fd)
        return int(_Opening(hub, call).outcome())

    def close(self, fd: int) -> None:
        """As ``os.close``; whoever waits for the descriptor is woken."""
        fd = index(fd)
        hub = hub_or_none()
        if hub is not None:
            if fd in _own_descriptors(hub):
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            forget(fd)
        _original.close(fd)

    def closerange(self, fd_low: int, fd_high: int, /) -> None:
        """As ``os.closerange``; whoever waits for one of the descriptors is woken."""
        fd_low, fd_high = index(fd_low), index(fd_high)
        hub = hub_or_none()
        if hub is not None:
            for fd in [fd for fd in hub.watches if fd_low <= fd < fd_high]:
                forget(fd)
            for fd in sorted(_own_descriptors(hub)):
                if fd_low <= fd < fd_high:
                    _original.closerange(fd_low, fd)
                    fd_low = fd + 1
        _original.closerange(fd_low, fd_high)

    def dup2(self, fd: int, fd2: int, inheritable: bool = True) -> int:
        """As ``os.dup2``; whoever waits for ``fd2`` is woken."""
        fd, fd2 = index(fd), index(fd2)
        hub = hub_or_none()
        if hub is not None and fd != fd2:
            if fd2 in _own_descriptors(hub):
                raise OSError(errno.EBUSY, f"descriptor {fd2} is one of graftlet's own")
            if fd2 in hub.watches:
                _fstat(fd)  # EBADF: then fd2 is not closed
                forget(fd2)
        result: int = _original.dup2(fd, fd2, inheritable)
        has_another_file(fd2)
        return result


def _concerns_us(fd: int) -> bool:
    """Whether ``fd`` is one that we know how to wait for; if it is none at all, the kernel will tell."""
    try:
        return may_wait(fd)
    except (OSError, TypeError, ValueError, OverflowError):
        return False


def _bytes_in(buffers: Any) -> bool:
    """Whether ``buffers`` are what readv(2) takes, and not empty."""
    try:
        return len(buffers) > 0 and any(memoryview(buffer).nbytes for buffer in buffers)
    except TypeError:
        return False


functions: Final = OsFunctions()

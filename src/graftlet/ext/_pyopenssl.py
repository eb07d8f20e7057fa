"""pyOpenSSL (``OpenSSL.SSL``): connections on blocking sockets.

Rule: OpenSSL reads and writes the descriptor itself, and on a blocking one it waits itself. So for as long as one
of its functions runs the descriptor does not block; what OpenSSL then wants is waited for here, and asked for again.
Afterwards the descriptor is as it was. Connections on sockets with a time-out, and those without a socket, are
left alone: they say ``WantReadError`` themselves, and the program waits. So are datagrams (DTLS), for which OpenSSL
has time-outs of its own.

A time-out that the program has set for the kernel (``SO_RCVTIMEO``, ``SO_SNDTIMEO``: socket(7)) is heeded; pyOpenSSL
has no other for blocking sockets.
"""

import _socket
import os
import struct
import sys
from functools import wraps
from typing import Any, Final

from graftlet.core._deadlines import INFINITY
from graftlet.core._hub import Hub
from graftlet.ext._calls import parking_hub
from graftlet.io._wait import READ, WRITE, wait_descriptor
from graftlet.patch._changes import Change

#: Methods that read or write, and that may be called again with the same arguments.
_AGAIN: Final = "do_handshake read recv recv_into send shutdown write"

#: By what is waited for: the option of the socket, a ``struct timeval``.
_TIME_OUTS: Final = {READ: _socket.SO_RCVTIMEO, WRITE: _socket.SO_SNDTIMEO}
_TIMEVAL: Final = struct.Struct("@ll")


class _Running:
    """The calls of OpenSSL that one connection is in, while its descriptor does not block.

    Mostly it is one. But a callback of the program may let another greenlet run, and so may preemption.
    """

    __slots__ = ("calls",)

    def __init__(self) -> None:
        self.calls = 0


def _running(connection: Any) -> _Running:
    running: _Running | None = connection.__dict__.get("_graftlet_running")
    if running is None:
        running = connection.__dict__.setdefault("_graftlet_running", _Running())
    return running


def _blocking_descriptor(connection: Any) -> int:
    """The descriptor on which OpenSSL would wait; -1 if there is none."""
    socket = connection.__dict__.get("_socket")
    if socket is None or getattr(socket, "type", _socket.SOCK_STREAM) != _socket.SOCK_STREAM:
        return -1
    fd: int = socket if isinstance(socket, int) else socket.fileno()
    if fd < 0 or _running(connection).calls or os.get_blocking(fd):
        return fd
    return -1


def _call(hub: Hub, fd: int, connection: Any, method: Any, *args: Any, **kwargs: Any) -> Any:
    """Return ``method(connection, ...)``; other greenlets run while it has to wait."""
    running = _running(connection)
    library = sys.modules["OpenSSL.SSL"]
    while True:
        running.calls += 1
        try:
            os.set_blocking(fd, False)
            return method(connection, *args, **kwargs)
        except library.WantReadError as error:
            wanted, refusal = READ, error
        except library.WantWriteError as error:
            wanted, refusal = WRITE, error
        finally:
            running.calls -= 1
            if not running.calls:
                os.set_blocking(fd, True)
        if not wait_descriptor(hub, fd, wanted, _deadline(hub, connection, wanted)):
            raise refusal


def _deadline(hub: Hub, connection: Any, wanted: int) -> float:
    """Until when the kernel would wait, by the options of the socket."""
    ask = getattr(connection.__dict__["_socket"], "getsockopt", None)
    if ask is None:
        return INFINITY
    value: bytes = ask(_socket.SOL_SOCKET, _TIME_OUTS[wanted], _TIMEVAL.size)
    if len(value) != _TIMEVAL.size or not any(value):
        return INFINITY
    seconds, microseconds = _TIMEVAL.unpack(value)
    return float(hub.clock() + seconds + microseconds / 1e6)


def _waiting(native: Any) -> Any:
    @wraps(native)
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        hub = parking_hub()
        if hub is None or (fd := _blocking_descriptor(self)) < 0:
            return native(self, *args, **kwargs)
        return _call(hub, fd, self, native, *args, **kwargs)

    return method


def _sendall(native: Any) -> Any:
    """What ``sendall`` has sent is lost when it says that it wants something: one piece after the other."""

    @wraps(native)
    def sendall(self: Any, buf: Any, flags: int = 0) -> Any:
        if parking_hub() is None or isinstance(buf, str) or _blocking_descriptor(self) < 0:
            return native(self, buf, flags)
        sent = 0
        with memoryview(buf) as view, view.cast("B") as rest:
            while sent < len(rest):
                sent += self.send(rest[sent : sent + _PIECE])
        return sent

    return sendall


#: Bytes; pyOpenSSL takes no more than 2 ** 31 - 1 at once.
_PIECE: Final = 1 << 30

#: By class and name: always the same objects, however often it is patched.
_methods: Final[dict[tuple[Any, str], Any]] = {}


def find() -> list[Change]:
    """What the adapter changes."""
    library: Any = sys.modules.get("OpenSSL.SSL")
    kind = getattr(library, "Connection", None)
    if kind is None:
        return []
    changes = []
    for name in (*_AGAIN.split(), "sendall"):
        if (kind, name) not in _methods:
            make = _sendall if name == "sendall" else _waiting
            _methods[kind, name] = make(getattr(kind, name))
        changes.append(Change(kind, name, _methods[kind, name], sweep=False))
    return changes

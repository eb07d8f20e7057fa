"""TLS: the readiness loops around the operations of the stdlib's own ``ssl.SSLSocket``.

Rules:

* *OpenSSL never waits.* Whether ``_ssl._SSLSocket`` waits is decided by the time-out of the socket object
  that it was made with, and by the mode of the descriptor (Modules/_ssl.c). So ``_wrap_socket`` gives it a
  `StandIn`, whose time-out is always 0, in the place of the socket. The socket keeps its own time-out:
  ``gettimeout`` and ``getblocking`` tell the truth. The mode of the descriptor does not: OpenSSL knows no
  MSG_DONTWAIT, so it is O_NONBLOCK for as long as TLS is spoken.
* A TLS object that was made before patching looks at the socket itself, and nothing can change that: there
  the socket's own time-out is 0 for the time of each call (see `Tls`).
* *A wait begins only when OpenSSL has said what it wants.* SSL_ERROR_WANT_READ and _WRITE mean that the
  kernel said EAGAIN, so an edge will follow. A read may want to write, and a write to read. The one
  exception is a read after a short one, see `_nothing_to_read`.
* Time-outs are C's: one deadline for each call of read, write, handshake and shutdown, in C's words. In a
  non-blocking socket C's own ``SSLWantReadError`` comes through.
* Native threads without a hub go the same way and wait natively: C's own loop would spin on a descriptor
  in non-blocking mode.
* Memory BIOs (``SSLObject``, asyncio) never wait, and are left alone.
"""

# mypy: disable-error-code="no-any-return"
# What C returns is passed on as it is.
import gc
import ssl
from collections.abc import Callable
from fcntl import ioctl
from functools import partial
from operator import index
from termios import FIONREAD
from typing import Any, Final

from graftlet.core import _original
from graftlet.core._current import blocking_hub, per_thread
from graftlet.core._deadlines import INFINITY
from graftlet.core._hub import Hub
from graftlet.core._poller import IN, OUT
from graftlet.io._socket import Socket, SocketState, state_of, wait_first
from graftlet.io._wait import closed_meanwhile, wait_watch
from graftlet.sync._lock import Lock

_C: Final[Any] = _original.socket
_gettimeout: Final = _C.gettimeout
_settimeout: Final = _C.settimeout
_SSLSocket: Final[Any] = ssl.SSLSocket
_python_wrap_socket: Final[Any] = ssl.SSLContext._wrap_socket  # type: ignore[attr-defined] # C's
_python_read: Final = _SSLSocket.read
_python_recv: Final = _SSLSocket.recv
_python_write: Final = _SSLSocket.write
_python_send: Final = _SSLSocket.send
_python_sendall: Final = _SSLSocket.sendall
_python_do_handshake: Final = _SSLSocket.do_handshake
_python_unwrap: Final = _SSLSocket.unwrap

# May be taken twice: a finalizer that runs in here may use a socket, too.
_making: Final = _original.RLock()
_length: Final = len
#: Seconds: over before C has looked at its clock twice, which counts nanoseconds.
_AT_ONCE: Final = 1e-9
#: Seconds: poll(2) takes milliseconds in an int.
_LONGEST_POLL: Final = 1e6
_ZERO: Final = bytes(4)


class StandIn(_C):  # type: ignore[misc] # of type Any: its stubs lack a good deal
    """What OpenSSL's side gets in the place of a socket: the same descriptor, and a time-out of 0.

    It never closes the descriptor. C keeps a weak reference only: it lives in `Tls`.
    """

    __slots__ = ("__weakref__",)

    def __del__(self) -> None:
        self.detach()


class Tls:
    """What graftlet knows of the TLS that is spoken on a socket. Lives in its `SocketState`.

    Without a ``stand_in`` the TLS object was made before patching.
    """

    __slots__ = ("_inside", "_timeout", "busy", "guard", "short", "stand_in")

    def __init__(self, stand_in: StandIn | None) -> None:
        self.stand_in = stand_in
        #: Held during each call of OpenSSL, whose objects are not made for two threads at once: one
        #: would find the other's SSL_ERROR_WANT_READ. Native, for nothing waits inside; may be taken
        #: twice, for C calls Python back during a handshake (SNI).
        self.guard = _original.RLock()
        #: Held by whoever waits in the middle of a write.
        self.busy: Lock | None = None
        #: Whether the last read returned something, but less than it was asked for.
        self.short = False
        # Without a stand-in: how many calls are under way, and the time-out that the program gave.
        self._inside = 0
        self._timeout: float | None = None

    def never_waiting(self, sock: Socket, method: Callable[..., Any]) -> Callable[..., Any]:
        """``method`` of C's TLS object, so that it never waits."""
        return partial(self._call, sock, 0, method)

    def at_once(self, sock: Socket, method: Callable[..., Any]) -> Any:
        """Call ``method`` once more, for C to raise its own TimeoutError if it can't go on."""
        return self._call(sock, _AT_ONCE, method)

    def _call(
        self, sock: Socket, timeout: float, method: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Call ``method`` while C sees this time-out."""
        stand_in = self.stand_in
        with self.guard:
            if stand_in is None:
                if not self._inside:
                    self._timeout = _gettimeout(sock)
                self._inside += 1
                _settimeout(sock, timeout)
            elif timeout:
                stand_in.settimeout(timeout)
            try:
                return method(*arguments)
            finally:
                if stand_in is None:
                    self._inside -= 1
                    if not self._inside and sock.fileno() >= 0:
                        _settimeout(sock, self._timeout)
                elif timeout:
                    stand_in.settimeout(0)

    def gettimeout(self, sock: Socket) -> float | None:
        """The time-out that the program gave the socket, seconds."""
        if self.stand_in is not None:
            return _gettimeout(sock)
        with self.guard:
            return self._timeout if self._inside else _gettimeout(sock)

    def settimeout(self, sock: Socket, timeout: Any) -> None:
        """Give the socket a time-out. C sets the descriptor's mode with it, which must not change."""
        with self.guard:
            _settimeout(sock, timeout)
            if self.stand_in is not None:
                self.stand_in.settimeout(0)
            elif self._inside:
                self._timeout = _gettimeout(sock)
                _settimeout(sock, 0)

    def end(self, sock: Socket) -> None:
        """No TLS is spoken any more: the descriptor gets the mode that the time-out stands for."""
        if self.stand_in is not None:
            _settimeout(sock, _gettimeout(sock))


def wrap_socket(self: ssl.SSLContext, sock: Socket, *args: Any, **kwargs: Any) -> Any:
    """``SSLContext._wrap_socket``, which makes C's TLS object for an ``SSLSocket``."""
    if not isinstance(sock, _SSLSocket) or (state := state_of(sock)) is None:
        return _python_wrap_socket(self, sock, *args, **kwargs)
    stand_in = StandIn(sock.family, sock.type, sock.proto, state.fd)
    made = _python_wrap_socket(self, stand_in, *args, **kwargs)
    stand_in.settimeout(0)
    state.tls = Tls(stand_in)
    return made


def _speaking(self: Socket) -> SocketState | None:
    """The state of a socket on which TLS is spoken; None if there is none, or the socket is closed."""
    if self._sslobj is None:
        return None
    with _making:  # two threads may come here at once: both must find the same
        state = state_of(self)
        if state is not None and state.tls is None:
            state.tls = Tls(None)
    return state


# -- Waiting


def _wait(state: SocketState, writing: bool, timeout: float | None, deadline: float) -> float:
    """Wait until it is worth while to try again.

    Args:
        timeout: seconds from now, at the first wait of an operation.
        deadline: what this function returned before in the same operation; 0 at first.

    Returns: the operation's deadline; 0 if it has passed.

    Raises: OSError: closed meanwhile.
    """
    try:
        hub: Hub | None = per_thread.hub
    except AttributeError:
        hub = blocking_hub()
    if not deadline:
        deadline = INFINITY
        if timeout is not None:
            deadline = timeout + (_original.monotonic() if hub is None else hub.clock())
    if hub is None:
        woken = _wait_natively(state, writing, deadline)
    elif state.hub is hub:
        woken = wait_watch(hub, state, writing, deadline)
    else:
        woken = wait_first(hub, state, writing, deadline)
    return deadline if woken else 0


def _wait_natively(state: SocketState, writing: bool, deadline: float) -> bool:
    """In a native thread that has no hub."""
    left = None if deadline == INFINITY else max(0, deadline - _original.monotonic())
    fd = state.fd
    if _original.poll is not None:
        poll = _original.poll()
        poll.register(fd, OUT if writing else IN)
        events: Any = poll.poll(None if left is None else min(left, _LONGEST_POLL) * 1000)
        ready = bool(events) or (left is not None and left > _LONGEST_POLL)
    else:  # pragma: no cover - not Linux
        ready = any(_original.select([] if writing else [fd], [fd] if writing else [], [], left))
    if state.closed:
        raise closed_meanwhile()
    return ready


def _carry_out(
    state: SocketState,
    timeout: float | None,
    expired: Callable[[bool], Any],
    wants: bool | None,
    operation: Callable[..., Any],
    *arguments: Any,
) -> Any:
    """The readiness loop: try, wait for what OpenSSL wants, try again.

    Args:
        expired: what to do when the time is over; called with whether the wait was for writing.
        wants: True or False if it is known already that it must wait to write, or to read; None: try.
    """
    deadline = 0.0
    while True:
        if wants is None:
            try:
                return operation(*arguments)
            except ssl.SSLWantReadError:
                if timeout == 0:
                    raise
                wants = False
            except ssl.SSLWantWriteError:
                if timeout == 0:
                    raise
                wants = True
        deadline = _wait(state, wants, timeout, deadline)
        if not deadline:
            return expired(wants)
        wants = None


def _reading_expired(_writing: bool) -> Any:
    raise TimeoutError("The read operation timed out")


def _writing_expired(_writing: bool) -> Any:
    raise TimeoutError("The write operation timed out")


def _shutdown_expired(writing: bool) -> Any:
    return _writing_expired(writing) if writing else _reading_expired(writing)


# -- Operations


def read(self: Socket, len: int = 1024, buffer: Any = None) -> Any:
    """``SSLSocket.read``; ``recv_into`` (in Python) stands on it."""
    sslobj = self._sslobj
    state = self._closed
    if sslobj is None or state.__class__ is not SocketState or (tls := state.tls) is None:
        if (state := _speaking(self)) is None:
            return _python_read(self, len, buffer)
        tls = state.tls
    self._checkClosed()
    operation = sslobj.read if tls.stand_in is not None else tls.never_waiting(self, sslobj.read)
    size = len if len.__class__ is int else index(len)
    deadline = 0.0
    # `_carry_out`, unrolled (benchmarks: tls-1, tls-100).
    wants = None
    if (
        tls.short
        and size > 0
        and (buffer is None or _nbytes(buffer))
        and _nothing_to_read(self, state, sslobj)
    ):
        wants = False
    while True:
        if wants is None:
            try:
                with tls.guard:
                    if buffer is None:
                        data = operation(size)
                        tls.short = 0 < _length(data) < size
                        return data
                    count = operation(size, buffer)
                    tls.short = 0 < count < size
                    return count
            except ssl.SSLWantReadError:
                wants = False
                if tls.gettimeout(self) == 0:
                    raise
            except ssl.SSLWantWriteError:
                wants = True
                if tls.gettimeout(self) == 0:
                    raise
            except ssl.SSLError as error:
                tls.short = False
                if error.args[0] != ssl.SSL_ERROR_EOF or not self.suppress_ragged_eofs:
                    raise
                return b"" if buffer is None else 0
        deadline = _wait(state, wants, tls.gettimeout(self), deadline)
        if not deadline:
            _reading_expired(wants)
        wants = None


def _nbytes(buffer: Any) -> int:
    return memoryview(buffer).nbytes


def _nothing_to_read(self: Socket, state: SocketState, sslobj: Any) -> bool:
    """Whether a read would have to wait, asked for less than OpenSSL takes to say so.

    Worth while after a short read only, when that is likely (benchmarks: tls-1, tls-100). OpenSSL reads
    one TLS record at a time and leaves the others in the kernel: if it holds no decrypted data and the
    kernel's buffer is empty, too, there is nothing, and an edge will follow. Unless FIN or an
    error, of which no number of bytes tells, has been reported already.
    """
    return (
        state.armed
        and not state.distrust
        and ioctl(state.fd, FIONREAD, _ZERO) == _ZERO
        and not sslobj.pending()
        and _gettimeout(self) != 0
    )


def recv(self: Socket, buflen: int = 1024, flags: int = 0) -> Any:
    """``SSLSocket.recv``, the common case only: it saves a tenth of an echo (benchmarks: tls-1)."""
    if flags != 0 or self._sslobj is None:
        return _python_recv(self, buflen, flags)
    return self.read(buflen)


def write(self: Socket, data: Any) -> Any:
    """``SSLSocket.write``."""
    return _python_write(self, data) if self._sslobj is None else send(self, data)


def send(self: Socket, data: Any, flags: int = 0) -> Any:
    """``SSLSocket.send``; ``sendfile`` (in Python) stands on it."""
    sslobj = self._sslobj
    state = self._closed
    if flags != 0:
        return _python_send(self, data, flags)
    if sslobj is None or state.__class__ is not SocketState or (tls := state.tls) is None:
        if (state := _speaking(self)) is None:
            return _python_send(self, data)
        tls = state.tls
    self._checkClosed()
    operation = sslobj.write if tls.stand_in is not None else tls.never_waiting(self, sslobj.write)
    if tls.busy is not None:
        _wait_for_turn(self, tls)
    try:
        with tls.guard:
            return operation(data)
    except ssl.SSLWantReadError:
        wants = False
        if (timeout := tls.gettimeout(self)) == 0:
            raise
    except ssl.SSLWantWriteError:
        wants = True
        if (timeout := tls.gettimeout(self)) == 0:
            raise
    busy = tls.busy = Lock()
    # The view keeps others from resizing the data meanwhile.
    with busy, memoryview(data) as view:
        try:
            operation = tls.never_waiting(self, sslobj.write)
            return _carry_out(state, timeout, _writing_expired, wants, operation, view)
        finally:
            tls.busy = None


def sendall(self: Socket, data: Any, flags: int = 0) -> None:
    """``SSLSocket.sendall``, the common case only: it saves a tenth of an echo (benchmarks: tls-1)."""
    if flags != 0 or not data or data.__class__ is not bytes or self._sslobj is None:
        return _python_sendall(self, data, flags)
    sent = self.send(data)
    if sent < _length(data):
        return _python_sendall(self, memoryview(data)[sent:])
    return None


def _wait_for_turn(self: Socket, tls: Tls) -> None:
    """A write that stopped half-way must be repeated with the same data (SSL_write(3)): meanwhile
    nobody else may write."""
    timeout = tls.gettimeout(self)
    while timeout != 0 and (busy := tls.busy) is not None:
        if not busy.acquire(timeout=-1 if timeout is None else timeout):
            _writing_expired(True)
        busy.release()


def do_handshake(self: Socket, block: bool = False) -> None:
    """``SSLSocket.do_handshake``."""
    state = _speaking(self)
    if state is None:
        return _python_do_handshake(self, block)
    self._check_connected()
    tls = state.tls
    handshake = self._sslobj.do_handshake
    timeout = tls.gettimeout(self)
    if timeout == 0 and block:
        timeout = None

    def expired(_writing: bool) -> None:
        # The text names a line of _ssl.c, which only C knows.
        try:
            tls.at_once(self, handshake)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise TimeoutError("The handshake operation timed out") from None

    return _carry_out(state, timeout, expired, None, tls.never_waiting(self, handshake))


def unwrap(self: Socket) -> Any:
    """``SSLSocket.unwrap``."""
    state = _speaking(self)
    if state is None:
        return _python_unwrap(self)
    tls = state.tls
    shutdown = tls.never_waiting(self, self._sslobj.shutdown)
    _carry_out(state, tls.gettimeout(self), _shutdown_expired, None, shutdown)
    self._sslobj = None
    state.tls = None
    tls.end(self)
    return self  # C returns the object that it was made with


def settimeout(self: Socket, timeout: Any, /) -> None:
    """``socket.settimeout``, for an ``SSLSocket``."""
    state = self._closed
    if state.__class__ is SocketState and state.tls is not None:
        state.tls.settimeout(self, timeout)
    else:
        _settimeout(self, timeout)


def setblocking(self: Socket, flag: Any, /) -> None:
    """``socket.setblocking``, for an ``SSLSocket``."""
    settimeout(self, None if flag else 0.0)


def detach(self: Socket) -> int:
    """``socket.detach``, for an ``SSLSocket``."""
    state = self._closed
    if state.__class__ is SocketState and state.tls is not None:
        state.tls.end(self)
    return super(_SSLSocket, self).detach()


def sendfile_zerocopy(self: Socket, function: Any, /, *args: Any, **kwargs: Any) -> Any:
    """``socket._sendfile_zerocopy``, for an ``SSLSocket`` whose TLS the kernel speaks (Python 3.15)."""
    state = _speaking(self)
    if state is not None:
        tls = state.tls
        function = partial(
            _carry_out,
            state,
            tls.gettimeout(self),
            _writing_expired,
            None,
            tls.never_waiting(self, function),
        )
    return super(_SSLSocket, self)._sendfile_zerocopy(function, *args, **kwargs)


# -- Un-patching


class _Once:
    """Whether this process has been un-patched before."""

    unpatched = False


def settle(patched: bool) -> None:
    """After patching and before un-patching: what C sees of the TLS sockets that were made meanwhile.

    Un-patched, C's own loops wait with the time-out that a socket has at that moment; one that is set
    later is not seen by the TLS objects that were made while patched.
    """
    if patched and not _Once.unpatched:
        return  # none was made yet
    _Once.unpatched = True
    for each in gc.get_objects():
        if issubclass(type(each), _SSLSocket):
            state = getattr(each, "_closed", None)
            if state.__class__ is SocketState and state.tls is not None:
                stand_in = state.tls.stand_in
                if stand_in is not None:
                    stand_in.settimeout(0 if patched else _gettimeout(each))

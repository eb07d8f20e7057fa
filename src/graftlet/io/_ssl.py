"""TLS: the stdlib's own ``ssl.SSLSocket`` above a TLS object that waits in the hub.

Rules:

* ``SSLSocket`` and all that ``ssl.py`` does stay as they are. What it stands on is its ``_sslobj``, an object of
  C (``_ssl._SSLSocket``, Modules/_ssl.c). A `Tls` takes its place: the same object, with a readiness loop around
  read, write, handshake and shutdown.
* *OpenSSL never waits.* Whether C's object waits is decided by the time-out of the socket object that it
  was made with, and by the mode of the descriptor. So it is made with a `StandIn`, whose time-out is always
  0. The socket keeps its own time-out: ``gettimeout`` and ``getblocking`` tell the truth. The mode of the
  descriptor does not: OpenSSL knows no MSG_DONTWAIT, so it is O_NONBLOCK for as long as TLS is spoken.
* An object that was made before patching looks at the socket itself, and nothing can change that: there the
  socket's own time-out is 0 for the time of each call.
* *A wait begins only when OpenSSL has said what it wants.* SSL_ERROR_WANT_READ and _WRITE mean that the
  kernel said EAGAIN, so an edge will follow. A read may want to write, and a write to read. The one
  exception is a read after a short one, see `Tls._nothing_to_read`.
* Time-outs are C's: one deadline for each call of read, write, handshake and shutdown, in C's words. In a
  non-blocking socket C's own ``SSLWantReadError`` comes through.
* Native threads without a hub go the same way and wait natively. So does everybody after un-patching.
* Memory BIOs (``SSLObject``, asyncio) never wait, and are left alone.
"""

# mypy: disable-error-code="no-any-return"
# What C returns is passed on as it is.
import _ssl
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
_python_sendall: Final = _SSLSocket.sendall
_REAL: Final[Any] = _ssl._SSLSocket  # type: ignore[attr-defined] # not in the stubs

#: Seconds: over before C has looked at its clock twice, which counts nanoseconds.
_AT_ONCE: Final = 1e-9
#: Seconds: poll(2) takes milliseconds in an int.
_LONGEST_POLL: Final = 1e6
_ZERO: Final = bytes(4)


class StandIn(_C):  # type: ignore[misc] # of type Any: its stubs lack a good deal
    """What C's TLS object gets in the place of a socket: the same descriptor, and a time-out of 0.

    It never closes the descriptor. C keeps a weak reference only: it lives in the `SocketState`.
    """

    __slots__ = ("__weakref__",)

    def __del__(self) -> None:
        self.detach()


class Tls:
    """What takes the place of ``real``, a ``_ssl._SSLSocket``.

    Without a ``stand_in`` that one was made before patching.
    """

    __slots__ = (
        "_busy",
        "_guard",
        "_inside",
        "_read",
        "_short",
        "_state",
        "_timeout",
        "_write",
        "real",
        "stand_in",
    )

    def __init__(self, real: Any, state: SocketState, stand_in: StandIn | None) -> None:
        self.real = real
        self.stand_in = stand_in
        self._state = state
        # Held during each call of OpenSSL, whose objects are not made for two threads at once: one
        # would find the other's SSL_ERROR_WANT_READ. Native, for nothing waits inside; may be taken
        # twice, for C calls Python back during a handshake (SNI).
        self._guard = _original.RLock()
        # Held by whoever waits in the middle of a write.
        self._busy: Lock | None = None
        # Whether the last read returned something, but less than it was asked for.
        self._short = False
        # Without a stand-in: how many calls are under way, and the time-out that the program gave.
        self._inside = 0
        self._timeout: float | None = None
        self._read = real.read if stand_in is not None else self._never_waiting(real.read)
        self._write = real.write if stand_in is not None else self._never_waiting(real.write)

    # -- What is C's

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    @property
    def context(self) -> Any:
        return self.real.context

    @context.setter
    def context(self, context: Any) -> None:
        self.real.context = context

    @property
    def session(self) -> Any:
        return self.real.session

    @session.setter
    def session(self, session: Any) -> None:
        self.real.session = session

    # -- The time-out: what C sees, and what the program gave

    def _never_waiting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        return partial(self._call, 0, method)

    def _call(self, timeout: float, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call ``method`` while C sees this time-out."""
        stand_in = self.stand_in
        with self._guard:
            if stand_in is not None:
                if not timeout:
                    return method(*arguments)
                stand_in.settimeout(timeout)
                try:
                    return method(*arguments)
                finally:
                    stand_in.settimeout(0)
            owner = self.real.owner
            if not self._inside:
                self._timeout = _gettimeout(owner)
            self._inside += 1
            _settimeout(owner, timeout)
            try:
                return method(*arguments)
            finally:
                self._inside -= 1
                if not self._inside and owner.fileno() >= 0:
                    _settimeout(owner, self._timeout)

    def gettimeout(self) -> float | None:
        """The time-out that the program gave the socket, seconds."""
        owner = self.real.owner
        if owner is None:
            return 0  # nobody is left who could wait
        if self.stand_in is not None:
            return _gettimeout(owner)
        with self._guard:
            return self._timeout if self._inside else _gettimeout(owner)

    def settimeout(self, timeout: Any) -> None:
        """Give the socket a time-out. C sets the descriptor's mode with it, which must not change."""
        owner = self.real.owner
        with self._guard:
            _settimeout(owner, timeout)
            if self.stand_in is not None:
                self.stand_in.settimeout(0)
            elif self._inside:
                self._timeout = _gettimeout(owner)
                _settimeout(owner, 0)

    def end(self) -> None:
        """No TLS is spoken any more: the descriptor gets the mode that the time-out stands for."""
        self._state.tls = None
        owner = self.real.owner
        if self.stand_in is not None and owner.fileno() >= 0:
            _settimeout(owner, _gettimeout(owner))

    # -- Operations

    def read(self, size: int, buffer: Any = None, /) -> Any:
        """``_SSLSocket.read``."""
        wanted = size if size.__class__ is int else index(size)
        # `_carry_out`, unrolled (benchmarks: tls-1, tls-100).
        wants = None
        if self._short and wanted > 0 and self._nothing_to_read(buffer):
            wants = False
        deadline = 0.0
        while True:
            if wants is None:
                try:
                    with self._guard:
                        if buffer is None:
                            data = self._read(wanted)
                            self._short = 0 < len(data) < wanted
                            return data
                        count = self._read(wanted, buffer)
                        self._short = 0 < count < wanted
                        return count
                except ssl.SSLWantReadError:
                    wants = False
                    if self.gettimeout() == 0:
                        raise
                except ssl.SSLWantWriteError:
                    wants = True
                    if self.gettimeout() == 0:
                        raise
            deadline = _wait(self._state, wants, self.gettimeout(), deadline)
            if not deadline:
                _reading_expired(wants)
            wants = None

    def _nothing_to_read(self, buffer: Any) -> bool:
        """Whether a read would have to wait, asked for less than OpenSSL takes to say so.

        Worth while after a short read only, when that is likely (benchmarks: tls-1, tls-100). OpenSSL
        reads one TLS record at a time and leaves the others in the kernel: if it holds no decrypted
        data and the kernel's buffer is empty, too, there is nothing, and an edge will follow. Unless
        FIN or an error, of which no number of bytes tells, has been reported already.
        """
        state = self._state
        return (
            state.armed
            and not state.distrust
            and ioctl(state.fd, FIONREAD, _ZERO) == _ZERO
            and not self.real.pending()
            and self.gettimeout() != 0
            and (buffer is None or memoryview(buffer).nbytes > 0)
        )

    def write(self, data: Any, /) -> Any:
        """``_SSLSocket.write``."""
        if self._busy is not None:
            self._wait_for_turn()
        try:
            with self._guard:
                return self._write(data)
        except ssl.SSLWantReadError:
            wants = False
            if (timeout := self.gettimeout()) == 0:
                raise
        except ssl.SSLWantWriteError:
            wants = True
            if (timeout := self.gettimeout()) == 0:
                raise
        busy = self._busy = Lock()
        # The view keeps others from resizing the data meanwhile.
        with busy, memoryview(data) as view:
            try:
                return self._carry_out(timeout, _writing_expired, wants, self.real.write, view)
            finally:
                self._busy = None

    def _wait_for_turn(self) -> None:
        """A write that stopped half-way must be repeated with the same data (SSL_write(3)): meanwhile
        nobody else may write."""
        timeout = self.gettimeout()
        while timeout != 0 and (busy := self._busy) is not None:
            if not busy.acquire(timeout=-1 if timeout is None else timeout):
                _writing_expired(True)
            busy.release()

    def do_handshake(self) -> None:
        """``_SSLSocket.do_handshake``."""
        self._carry_out(self.gettimeout(), self._handshake_expired, None, self.real.do_handshake)

    def _handshake_expired(self, _writing: bool) -> None:
        # The text names a line of _ssl.c, which only C knows. One more try, and it says it.
        try:
            self._call(_AT_ONCE, self.real.do_handshake)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise TimeoutError("The handshake operation timed out") from None

    def shutdown(self) -> Any:
        """``_SSLSocket.shutdown``."""
        self._carry_out(self.gettimeout(), _shutdown_expired, None, self.real.shutdown)
        self.end()
        return self.real.owner  # C returns the object that it was made with

    @property
    def sendfile(self) -> Callable[..., Any]:
        """``_SSLSocket.sendfile``: since Python 3.15, and only for TLS that the kernel speaks."""
        real = self.real.sendfile
        return partial(self._carry_out, self.gettimeout(), _writing_expired, None, real)

    def _carry_out(
        self,
        timeout: float | None,
        expired: Callable[[bool], Any],
        wants: bool | None,
        method: Callable[..., Any],
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
                    return self._call(0, method, *arguments)
                except ssl.SSLWantReadError:
                    wants = False
                    if timeout == 0:
                        raise
                except ssl.SSLWantWriteError:
                    wants = True
                    if timeout == 0:
                        raise
            deadline = _wait(self._state, wants, timeout, deadline)
            if not deadline:
                return expired(wants)
            wants = None


def _reading_expired(_writing: bool) -> Any:
    raise TimeoutError("The read operation timed out")


def _writing_expired(_writing: bool) -> Any:
    raise TimeoutError("The write operation timed out")


def _shutdown_expired(writing: bool) -> Any:
    return _writing_expired(writing) if writing else _reading_expired(writing)


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


# -- What is put on the classes


def wrap_socket(self: ssl.SSLContext, sock: Socket, *args: Any, **kwargs: Any) -> Any:
    """``SSLContext._wrap_socket``, which makes the TLS object of an ``SSLSocket``."""
    if not isinstance(sock, _SSLSocket) or (state := state_of(sock)) is None:
        return _python_wrap_socket(self, sock, *args, **kwargs)
    stand_in = StandIn(sock.family, sock.type, sock.proto, state.fd)
    real = _python_wrap_socket(self, stand_in, *args, **kwargs)
    stand_in.settimeout(0)
    state.tls = stand_in
    return Tls(real, state, stand_in)


def _tls_of(self: Socket) -> Tls | None:
    tls = getattr(self, "_sslobj", None)  # Python 3.10 sets a time-out before there is one
    return tls if tls.__class__ is Tls else None


def settimeout(self: Socket, timeout: Any, /) -> None:
    """``socket.settimeout``, for an ``SSLSocket``."""
    tls = _tls_of(self)
    if tls is None:
        _settimeout(self, timeout)
    else:
        tls.settimeout(timeout)


def setblocking(self: Socket, flag: Any, /) -> None:
    """``socket.setblocking``, for an ``SSLSocket``."""
    settimeout(self, None if flag else 0.0)


def detach(self: Socket) -> int:
    """``socket.detach``, for an ``SSLSocket``."""
    tls = _tls_of(self)
    if tls is not None:
        tls.end()
    return super(_SSLSocket, self).detach()


def sendall(self: Socket, data: Any, flags: int = 0) -> None:
    """``SSLSocket.sendall``, the common case only: it saves a tenth of an echo (benchmarks: tls-1)."""
    if flags != 0 or not data or data.__class__ is not bytes or self._sslobj is None:
        return _python_sendall(self, data, flags)
    sent = self.send(data)
    if sent < len(data):
        return _python_sendall(self, memoryview(data)[sent:])
    return None


# -- What exists already


def adopt_existing(objects: list[Any]) -> None:
    """Let the sockets on which TLS is spoken already stand on a `Tls`, too: they wait in the hub from now on.

    Those made while patched go on after it.

    Args:
        objects: the instances of ``ssl.SSLSocket`` are among them.
    """
    for each in objects:
        if issubclass(type(each), _SSLSocket):
            real = vars(each).get("_sslobj")
            if isinstance(real, _REAL) and (state := state_of(each)) is not None:
                each._sslobj = Tls(real, state, None)

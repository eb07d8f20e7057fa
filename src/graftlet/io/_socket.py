"""The cooperative socket operations, each with the signature of the method that it takes the place of.

Rules:

* *State lies in the socket.* A ``socket.socket`` has no room for attributes but its slot ``_closed``,
  of which everybody only asks whether it is true. So that is where a `SocketState` goes, whose truth
  value is what ``_closed`` was. It is found faster than by descriptor, and a descriptor number that is
  used again can never meet another socket's state.
* *The descriptor keeps its mode.* All calls into the kernel go through ``SocketState.shadow``, a
  ``_socket.socket`` on the same descriptor that never waits: its own time-out is 0, and MSG_DONTWAIT makes
  that true for descriptors in blocking mode. The socket's time-out, O_NONBLOCK and ``getblocking`` stay
  what the program made them. The shadow never closes the descriptor: it is detached first.
* *Try first, then wait*, with one exception: a stream socket whose last ``recv`` returned less than
  it was asked for has nothing left to read, so the next one parks at once. The note is a count of
  edges (see `Watch`), made only for TCP, whose end of data is never in the middle of its buffer, and
  never trusted again after an event that may hide data behind it (FIN, urgent data, errors).
* In a non-blocking socket, and in a native thread without a hub, the original method does it all.
"""

import _socket

# mypy: disable-error-code="no-any-return"
# What C returns is passed on as it is: typeshed's stubs of C's own methods lack several of these.
import errno
import os
import weakref
from operator import index
from socket import socket as socket_class
from sys import maxsize
from typing import Any, Final, TypeAlias

from graftlet.core import _original
from graftlet.core._current import blocking_hub, per_thread
from graftlet.core._deadlines import INFINITY
from graftlet.core._hub import Hub
from graftlet.core._poller import Watch
from graftlet.io._offload import pool
from graftlet.io._resolver import resolved
from graftlet.io._wait import READ, WRITE, closed_meanwhile, wait_descriptor, wait_watch

#: A ``socket.socket``. Its type stubs know neither ``_closed`` nor ``_io_refs``.
Socket: TypeAlias = Any

_C: Final[Any] = _original.socket
_DONTWAIT: Final[int] = _socket.MSG_DONTWAIT
_WAITALL: Final[int] = getattr(_socket, "MSG_WAITALL", 0)
_SOCK_NONBLOCK: Final[int] = getattr(_socket, "SOCK_NONBLOCK", 0)
_TCP: Final = (0, _socket.IPPROTO_TCP)
#: Not an errno: that of a time-out, EAGAIN, also means that a UNIX listener's backlog is full.
_TIMED_OUT: Final = -1
_AF_UNIX: Final[int] = getattr(_socket, "AF_UNIX", -1)
_INTERNET: Final = (_socket.AF_INET, _socket.AF_INET6)

_gettimeout: Final = _C.gettimeout
_fileno: Final = _C.fileno
_detach: Final = _C.detach
_recv: Final = _C.recv
_recv_into: Final = _C.recv_into
_recvfrom: Final = _C.recvfrom
_recvfrom_into: Final = _C.recvfrom_into
_recvmsg: Final[Any] = getattr(_C, "recvmsg", None)
_recvmsg_into: Final[Any] = getattr(_C, "recvmsg_into", None)
_send: Final = _C.send
_sendall: Final = _C.sendall
_sendto: Final = _C.sendto
_sendmsg: Final[Any] = getattr(_C, "sendmsg", None)
_accept: Final = _C._accept
_connect: Final = _C.connect
_connect_ex: Final = _C.connect_ex
_bind: Final = _C.bind
_shutdown: Final = _C.shutdown
_python_close: Final = socket_class.close
_python_detach: Final = socket_class.detach
# What the C type's members say, past the enum-making properties of class socket.socket.
_family: Final = _C.__dict__["family"].__get__
_type: Final = _C.__dict__["type"].__get__
_proto: Final = _C.__dict__["proto"].__get__


class SocketState(Watch):
    """What graftlet knows of one socket object. Lives in the socket's slot ``_closed``."""

    __slots__ = (
        "blocks",
        "elsewhere",
        "heard",
        "marked_closed",
        "owner",
        "recv",
        "recv_into",
        "send",
        "sent",
        "shadow",
        "stream",
        "tls",
    )

    def __init__(self, fd: int, family: int, kind: int, proto: int, marked_closed: bool) -> None:
        super().__init__(fd)
        #: What ``socket._closed`` would be: true also while a file made by makefile() keeps it open.
        self.marked_closed = marked_closed
        self.shadow = _C(family, kind | _SOCK_NONBLOCK, proto, fd)
        self.recv = self.shadow.recv
        self.recv_into = self.shadow.recv_into
        self.send = self.shadow.send
        #: Whether a short read proves that the kernel's buffer is empty.
        self.stream = kind == _socket.SOCK_STREAM and family in _INTERNET and proto in _TCP
        #: While TLS is spoken: the stand-in of `graftlet.io._ssl`. Then the descriptor is O_NONBLOCK.
        self.tls: Any = None
        #: Whether the descriptor is known to be in blocking mode.
        self.blocks = False
        #: The watches of those who wait in other hubs, or beside another socket object with this number.
        self.elsewhere: list[Watch] = []
        #: Addresses that need no resolving: those that were heard from and sent to last (benchmarks, udp).
        self.heard: Any = None
        self.sent: Any = None
        #: Tells when the socket object is gone.
        self.owner: weakref.ref[Any] | None = None

    def __bool__(self) -> bool:
        return self.marked_closed

    def __repr__(self) -> str:
        # Also what the deadlock report prints.
        return f"socket with descriptor {self.fd}"

    def orphaned(self, _: object) -> None:
        """The socket was thrown away unclosed, and so was its descriptor: the number may be in use again."""
        self.owner = None
        hub = self.hub
        if hub is not None and not hub.closed:
            if hub.thread == _original.get_ident():
                self._drop()
            else:
                hub.post(self._drop)

    def _drop(self) -> None:
        hub = self.hub
        if hub is not None and hub.watches.get(self.fd) is self:
            del hub.watches[self.fd]
            if not hub.poller.edge:  # epoll has forgotten it
                hub.poller.disarm(self)

    def __del__(self) -> None:
        # The shadow must never close what is not its own.
        self.shadow.detach()


def state_of(self: Socket) -> SocketState | None:
    """The state of an open socket, made at the first use; None if the socket is closed."""
    state = self._closed
    if state.__class__ is SocketState:
        return state
    fd = _fileno(self)
    if fd < 0:
        return None
    made = SocketState(fd, _family(self), _type(self), _proto(self), bool(state))
    made.owner = weakref.ref(self, made.orphaned)
    self._closed = made
    return made


def wait(self: Socket, state: SocketState, writing: bool, deadline: float, flags: int = 0) -> float:
    """Park until it is worth while to try again.

    Args:
        flags: those of the operation: MSG_DONTWAIT makes a blocking socket non-blocking for once.
        deadline: what this function returned before in the same operation; 0 at first.

    Returns: the operation's deadline; 0 if there must be no waiting here, or no hub to wait in: then the
        original method, which knows what to do, must be called.

    Raises: TimeoutError: the socket's time-out has passed. OSError: closed meanwhile.
    """
    try:
        hub: Hub | None = per_thread.hub
    except AttributeError:
        hub = blocking_hub()
    if hub is None:
        return 0
    if not deadline:
        timeout = _gettimeout(self)
        if timeout is None:
            if flags & _DONTWAIT or not (state.blocks or _blocks(state)):
                return 0
            deadline = INFINITY
        elif timeout == 0:
            return 0
        else:
            deadline = hub.clock() + timeout
    if state.hub is hub:
        if state.armed and not writing and state.reader is None:
            # `wait_watch`, unrolled: a tenth of an echo (benchmarks, echo-100).
            state.reader = hub.current
            try:
                woken = hub.park(state, deadline)
            finally:
                state.reader = None
            if state.closed:
                raise closed_meanwhile()
        else:
            woken = wait_watch(hub, state, writing, deadline)
    else:
        woken = wait_first(hub, state, writing, deadline)
    if not woken:
        raise TimeoutError("timed out")
    return deadline


def _blocks(state: SocketState) -> bool:
    """Whether the descriptor is in blocking mode: looked at once, before the first wait.

    If O_NONBLOCK was set behind Python's back (fcntl), its operations raise BlockingIOError.
    """
    state.blocks = state.tls is not None or os.get_blocking(state.fd)  # TLS sets O_NONBLOCK itself
    return state.blocks


def _wait_to_send(self: Socket, state: SocketState, deadline: float, flags: int) -> float:
    """`wait`, for room to write.

    A thread that is blocked in send(2) on a UNIX socket whose peer goes gets the error of the socket
    (ECONNRESET); one that tries again is told EPIPE before the kernel looks at that error.
    """
    deadline = wait(self, state, True, deadline, flags)
    if deadline and _family(self) == _AF_UNIX:
        error = state.shadow.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
    return deadline


def wait_first(hub: Hub, state: SocketState, writing: bool, deadline: float) -> bool:
    """The first wait in this hub: the state becomes this hub's, unless another one has it."""
    if state.hub is None or state.hub.closed:
        state.hub = hub
        state.armed = False
        try:
            return wait_watch(hub, state, writing, deadline)
        except FileExistsError:
            # Another socket object with the same descriptor is registered.
            state.hub = None
    woken = wait_descriptor(hub, state.fd, WRITE if writing else READ, deadline, state.elsewhere)
    if state.closed:
        raise closed_meanwhile()
    return woken


def _note(state: SocketState, edges: int, empty: bool) -> None:
    """A read was short: unless FIN or the like may be hidden behind it, there is nothing left."""
    if empty:
        state.distrust = True  # the end of the stream: every read returns at once from now on
    elif state.armed and not state.distrust:
        state.drained = edges


def recv(self: Socket, bufsize: int, flags: int = 0, /) -> bytes:
    """``socket.recv``."""
    state = self._closed
    if flags or state.__class__ is not SocketState or bufsize.__class__ is not int:
        return _recv_with(self, index(bufsize), flags)
    deadline = 0.0
    while True:
        edges = state.edges
        if state.drained != edges or not 0 < bufsize <= maxsize:
            try:
                data = state.recv(bufsize, _DONTWAIT)
            except BlockingIOError:
                pass
            else:
                if len(data) < bufsize and state.stream:
                    # `_note`, unrolled.
                    if not data:
                        state.distrust = True
                    elif state.armed and not state.distrust:
                        state.drained = edges
                return data
        if not (deadline := wait(self, state, False, deadline)):
            return _recv(self, bufsize, flags)


def _recv_with(self: Socket, bufsize: int, flags: int) -> bytes:
    """`recv` with flags, or of a socket that has not been used yet."""
    if flags & _WAITALL and _gettimeout(self) is None:
        data = bytearray(bufsize)
        return bytes(data[: _recv_all(self, data, flags)])
    state = state_of(self)
    if state is None:
        return _recv(self, bufsize, flags)
    if not flags:
        return recv(self, bufsize)
    deadline = 0.0
    while True:
        try:
            return state.recv(bufsize, flags | _DONTWAIT)
        except BlockingIOError:
            if not (deadline := wait(self, state, False, deadline, flags)):
                return _recv(self, bufsize, flags)


def recv_into(self: Socket, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
    """``socket.recv_into``."""
    if nbytes.__class__ is not int:
        nbytes = index(nbytes)
    if flags & _WAITALL and _gettimeout(self) is None and _can_take(buffer, nbytes):
        return _recv_all(self, _octets(buffer, nbytes), flags)
    state = self._closed
    if state.__class__ is not SocketState and (state := state_of(self)) is None:
        return _recv_into(self, buffer, nbytes, flags)
    deadline = 0.0
    while True:
        edges = state.edges
        if state.drained != edges or flags or not _can_take(buffer, nbytes):
            try:
                count = state.recv_into(buffer, nbytes, flags | _DONTWAIT)
            except BlockingIOError:
                pass
            else:
                if state.stream and not flags:
                    wanted = nbytes or _size(buffer)
                    if count < wanted:
                        _note(state, edges, count == 0)
                return count
        if not (deadline := wait(self, state, False, deadline, flags)):
            return _recv_into(self, buffer, nbytes, flags)


def _can_take(buffer: Any, nbytes: int) -> bool:
    """Whether ``recv_into`` would take these arguments and read anything: if not, it never waits."""
    try:
        with memoryview(buffer) as view:
            return not view.readonly and view.c_contiguous and 0 <= nbytes <= view.nbytes != 0
    except TypeError:
        return False


def _octets(buffer: Any, nbytes: int) -> memoryview:
    view = memoryview(buffer).cast("B")
    return view[:nbytes] if nbytes else view


def _recv_all(self: Socket, buffer: Any, flags: int) -> int:
    """MSG_WAITALL on a blocking socket: until ``buffer`` is full, or the stream has ended.

    recv(2) can't do it here, for that flag excludes MSG_DONTWAIT; nor can a native thread, which would
    go on taking data out of the socket when its greenlet has been killed.
    """
    flags &= ~_WAITALL
    if flags & (_socket.MSG_PEEK | _DONTWAIT) or not _is_stream(self):
        return recv_into(self, buffer, 0, flags)
    count = 0
    with memoryview(buffer) as view:
        while count < len(view):
            try:
                got = recv_into(self, view[count:], 0, flags)
            except OSError:
                if count:
                    break
                raise
            if not got:
                break
            count += got
    return count


def _is_stream(self: Socket) -> bool:
    return bool(_type(self) == _socket.SOCK_STREAM)


def _size(data: Any) -> int:
    return len(data) if data.__class__ is bytes else memoryview(data).nbytes


def recvfrom(self: Socket, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
    """``socket.recvfrom``."""
    if flags and flags & _WAITALL and _gettimeout(self) is None and _is_stream(self):
        return recv(self, bufsize, flags), None
    state = self._closed
    if state.__class__ is not SocketState:
        state = state_of(self)
    deadline = 0.0
    while state is not None:
        try:
            received = state.shadow.recvfrom(bufsize, flags | _DONTWAIT)
        except BlockingIOError:
            if not (deadline := wait(self, state, False, deadline, flags)):
                break
        else:
            state.heard = received[1]
            return received
    return _recvfrom(self, bufsize, flags)


def recvfrom_into(self: Socket, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
    """``socket.recvfrom_into``."""
    if flags & _WAITALL and _gettimeout(self) is None and _is_stream(self):
        return recv_into(self, buffer, nbytes, flags), None
    state = state_of(self)
    deadline = 0.0
    while state is not None:
        try:
            return state.shadow.recvfrom_into(buffer, nbytes, flags | _DONTWAIT)
        except BlockingIOError:
            if not (deadline := wait(self, state, False, deadline, flags)):
                break
    return _recvfrom_into(self, buffer, nbytes, flags)


def recvmsg(
    self: Socket, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
) -> tuple[bytes, list[Any], int, Any]:
    """``socket.recvmsg``."""
    if flags & _WAITALL and _gettimeout(self) is None:
        return pool.call(_recvmsg, self, bufsize, ancbufsize, flags)
    state = state_of(self)
    deadline = 0.0
    while state is not None:
        try:
            return state.shadow.recvmsg(bufsize, ancbufsize, flags | _DONTWAIT)
        except BlockingIOError:
            if not (deadline := wait(self, state, False, deadline, flags)):
                break
    return _recvmsg(self, bufsize, ancbufsize, flags)


def recvmsg_into(
    self: Socket, buffers: Any, ancbufsize: int = 0, flags: int = 0, /
) -> tuple[int, list[Any], int, Any]:
    """``socket.recvmsg_into``."""
    buffers = list(buffers)  # an iterator must serve every try
    if flags & _WAITALL and _gettimeout(self) is None:
        return pool.call(_recvmsg_into, self, buffers, ancbufsize, flags)
    state = state_of(self)
    deadline = 0.0
    while state is not None:
        try:
            return state.shadow.recvmsg_into(buffers, ancbufsize, flags | _DONTWAIT)
        except BlockingIOError:
            if not (deadline := wait(self, state, False, deadline, flags)):
                break
    return _recvmsg_into(self, buffers, ancbufsize, flags)


def send(self: Socket, data: Any, flags: int = 0, /) -> int:
    """``socket.send``."""
    state = self._closed
    if state.__class__ is not SocketState and (state := state_of(self)) is None:
        return _send(self, data, flags)
    deadline = 0.0
    while True:
        try:
            return state.send(data, flags | _DONTWAIT)
        except BlockingIOError:
            if not (deadline := _wait_to_send(self, state, deadline, flags)):
                return _send(self, data, flags)


def sendall(self: Socket, data: Any, flags: int = 0, /) -> None:
    """``socket.sendall``: the time-out is that of the whole call, as in C."""
    state = self._closed
    if state.__class__ is not SocketState and (state := state_of(self)) is None:
        return _sendall(self, data, flags)
    try:
        sent = state.send(data, flags | _DONTWAIT)
    except BlockingIOError:
        sent = 0
    if sent == (len(data) if data.__class__ is bytes else _size(data)):
        return None
    return _send_rest(self, state, data, sent, flags)


def _send_rest(self: Socket, state: SocketState, data: Any, sent: int, flags: int) -> None:
    """`sendall`, when the kernel has taken only ``sent`` octets at the first try."""
    deadline = 0.0
    with memoryview(data) as view, view.cast("B") as octets:
        while sent < len(octets):
            if not (deadline := _wait_to_send(self, state, deadline, flags)):
                return _sendall(self, octets[sent:], flags)
            try:
                sent += state.send(octets[sent:], flags | _DONTWAIT)
            except BlockingIOError:
                pass
    return None


def sendto(self: Socket, data: Any, *flags_and_address: Any) -> int:
    """``socket.sendto(data, address)`` and ``socket.sendto(data, flags, address)``."""
    state = self._closed
    if state.__class__ is not SocketState:
        state = state_of(self)
    if len(flags_and_address) == 1:
        flags, address = 0, flags_and_address[0]
    elif len(flags_and_address) == 2:
        flags, address = flags_and_address
    else:
        return _sendto(self, data, *flags_and_address)
    if state is None:
        return _sendto(self, data, flags, address)
    if address is not state.heard and address is not state.sent and _gettimeout(self) != 0:
        named, address = address, resolved(_family(self), address)
        if named is address and type(address) is tuple:
            state.sent = address
    deadline = 0.0
    while True:
        try:
            return state.shadow.sendto(data, flags | _DONTWAIT, address)
        except BlockingIOError:
            if not (deadline := _wait_to_send(self, state, deadline, flags)):
                return _sendto(self, data, flags, address)


def sendmsg(
    self: Socket, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None, /
) -> int:
    """``socket.sendmsg``."""
    buffers = list(buffers)  # iterators must serve every try
    ancdata = list(ancdata)
    state = state_of(self)
    if address is not None and _gettimeout(self) != 0:
        address = resolved(_family(self), address)
    deadline = 0.0
    while state is not None:
        try:
            return state.shadow.sendmsg(buffers, ancdata, flags | _DONTWAIT, address)
        except BlockingIOError:
            if not (deadline := _wait_to_send(self, state, deadline, flags)):
                break
    return _sendmsg(self, buffers, ancdata, flags, address)


def accept_descriptor(self: Socket) -> tuple[int, Any]:
    """``socket._accept``, which ``socket.accept`` (in Python) stands on."""
    state = state_of(self)
    deadline = 0.0
    while state is not None:
        try:
            if _gettimeout(self) is not None:
                return state.shadow._accept()
            # accept(2) has no MSG_DONTWAIT. The mode is changed for this call only: processes that
            # share the listener may be waiting in accept themselves.
            if not (state.blocks or _blocks(state)):
                break
            state.shadow.setblocking(False)
            try:
                return state.shadow._accept()
            finally:
                state.shadow.setblocking(True)
        except BlockingIOError:
            if not (deadline := wait(self, state, False, deadline)):
                break
    return _accept(self)


def connect(self: Socket, address: Any, /) -> None:
    """``socket.connect``."""
    error = _connected(self, address)
    if error is None:
        return _connect(self, address)
    if error == _TIMED_OUT:
        raise TimeoutError("timed out")
    if error:
        raise OSError(error, os.strerror(error))
    return None


def connect_ex(self: Socket, address: Any, /) -> int:
    """``socket.connect_ex``; a time-out is EAGAIN, as in C."""
    error = _connected(self, address)
    if error is None:
        return _connect_ex(self, address)
    return errno.EWOULDBLOCK if error == _TIMED_OUT else error


def _connected(self: Socket, address: Any) -> int | None:
    """Connect; returns the errno, or `_TIMED_OUT`. None: the original method must do it."""
    state = state_of(self)
    timeout = _gettimeout(self)
    if state is None or timeout == 0 or blocking_hub() is None:
        return None
    address = resolved(_family(self), address)
    shadow = state.shadow
    if timeout is None:
        if not (state.blocks or _blocks(state)):
            return None
        shadow.setblocking(False)  # connect(2) has no MSG_DONTWAIT either
        try:
            error = shadow.connect_ex(address)
        finally:
            shadow.setblocking(state.tls is None)  # TLS needs O_NONBLOCK
    else:
        error = shadow.connect_ex(address)
    if error == errno.EAGAIN:
        # unix(7): the listener's backlog is full, and nothing tells when it is not any more.
        return pool.call(_connect_ex, self, address)
    if error != errno.EINPROGRESS:
        return error
    deadline = 0.0
    while True:
        try:
            deadline = wait(self, state, True, deadline)
        except TimeoutError:
            return _TIMED_OUT
        if not deadline:
            return errno.EINPROGRESS  # the socket was made non-blocking meanwhile
        state.blocks = False  # the program may change that when it is connected
        error = shadow.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if error:
            return error
        try:
            shadow.getpeername()
        except OSError as unconnected:
            if unconnected.errno != errno.ENOTCONN:
                return 0  # connected, and gone again: the next operation says so
        else:
            if timeout is None:
                # The kernel calls the socket connected (EISCONN) only when it has been asked again.
                shadow.connect_ex(address)
            return 0


def bind(self: Socket, address: Any, /) -> None:
    """``socket.bind``: only a host's name could block."""
    _bind(self, resolved(_family(self), address))


def shutdown(self: Socket, how: int, /) -> None:
    """``socket.shutdown``: whoever waits for this socket tries again.

    The kernel wakes those who block in send(2) on a UNIX socket, but reports no event to poll for.
    """
    _shutdown(self, how)
    state = self._closed
    if state.__class__ is SocketState and (hub := state.hub) is not None and not hub.closed:
        if hub.thread == _original.get_ident():
            hub.rouse(state)
        else:
            hub.post(lambda: hub.rouse(state))


def _forget(watch: Watch) -> None:
    hub = watch.hub
    if hub is not None and not hub.closed:
        if hub.thread == _original.get_ident():
            hub.forget(watch)
        else:
            # Now, not when the other hub comes round: the number may be used again by then.
            hub.poller.disarm(watch)
            hub.post(lambda: hub.forget(watch))


def release(self: Socket) -> None:
    """The descriptor is about to be closed or given away: nobody may wait for it any more."""
    state = self._closed
    if state.__class__ is not SocketState:
        return
    assert isinstance(state, SocketState)
    for watch in (state, *state.elsewhere):
        _forget(watch)
    state.closed = True
    state.owner = None
    state.shadow.detach()
    self._closed = state.marked_closed


def close(self: Socket) -> None:
    """``socket.close``: the descriptor is closed when no file made by makefile() needs it any more."""
    state = self._closed
    if state.__class__ is not SocketState:
        return _python_close(self)
    if self._io_refs > 0:
        _python_close(self)  # only marks it
        assert isinstance(state, SocketState)
        state.marked_closed = True
        self._closed = state  # true, and found by those files
        return None
    release(self)
    return _python_close(self)


def detach(self: Socket) -> int:
    """``socket.detach``."""
    release(self)
    return _python_detach(self)

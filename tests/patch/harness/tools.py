"""What cases are written with.

Rule: nothing in here or in a case knows graftlet, and importing a module of cases opens nothing: what
must exist before patching is made by its function ``prepare``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Pair = tuple[socket.socket, socket.socket]
    #: State ("S" waits), and how often it has stopped to wait, and had to stop for another one to run.
    Waits = tuple[str, int, int]

Function = TypeVar("Function", bound="Callable[..., Any]")

#: Seconds: a time-out that is meant to pass.
SHORT: Final = 0.02
#: Seconds: a time-out that is not, on however busy a machine.
LONG: Final = 10.0
#: Seconds: how long others may take to come to where they wait. Some never do: they tick, or spin.
PATIENCE: Final = 0.25
#: Who has stopped to wait so often meanwhile is one of those, and not one that gets no processor.
TICKS: Final = 20


def describe(error: BaseException) -> str:
    """An exception's type, its errno by name, and its text."""
    number = getattr(error, "errno", None)
    name = f"[{errno.errorcode.get(number, number)}]" if isinstance(number, int) else ""
    return f"{type(error).__module__}.{type(error).__qualname__}{name}: {error}"


def outcome(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """What the call returns, or a description of what it raises."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return describe(error)


def kind(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """As `outcome`, but of an exception only its type: for texts that no program reads."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return type(error).__name__


class Background(threading.Thread):
    """A call in a thread of its own."""

    def __init__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(daemon=True)
        self._call = (function, args, kwargs)
        self._outcome: Any = "never ended"
        self.start()

    def run(self) -> None:
        function, args, kwargs = self._call
        self._outcome = outcome(function, *args, **kwargs)

    def result(self) -> Any:
        self.join(LONG)
        return self._outcome


def settle(seconds: float = 0.003) -> None:
    """Let the other threads come to where they wait.

    Native ones are watched: on a busy machine each takes its time until it has a processor. Those that
    are none may need several turns, one after the other, however late the time-out is noticed.
    """
    for _ in range(5):
        time.sleep(seconds / 5)
    until = time.monotonic() + PATIENCE
    first: dict[str, Waits] = {}
    before = None
    while True:
        now = _other_native_threads()
        # Who ran in between, be it for a moment, has switched to another thread since.
        if now == before and all(state == "S" for state, _, _ in now.values()):
            return
        for number, waits in now.items():
            first.setdefault(number, waits)
        if time.monotonic() > until and all(
            state == "S" or count >= first[number][1] + TICKS
            for number, (state, count, _) in now.items()
        ):
            return
        before = now
        time.sleep(0.001)


def until(condition: Callable[[], Any]) -> Any:
    """Wait until it is true, and return what it returned; at the longest for `LONG`."""
    end = time.monotonic() + LONG
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.001)
    return found


def _other_native_threads() -> dict[str, Waits]:
    """The native threads by number (Linux; elsewhere none is known)."""
    found = {}
    with contextlib.suppress(OSError):  # no such directory, or no descriptor is to be had
        me = os.path.basename(os.readlink("/proc/thread-self"))
        for number in os.listdir("/proc/self/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                if number != me:
                    with open(f"/proc/self/task/{number}/status") as file:
                        status = dict(line.split(":\t", 1) for line in file)
                    found[number] = (
                        status["State"][0],
                        int(status["voluntary_ctxt_switches"]),
                        int(status["nonvoluntary_ctxt_switches"]),
                    )
    return found


@contextlib.contextmanager
def listening(family: int = socket.AF_INET, backlog: int = 16) -> Iterator[socket.socket]:
    """A listener on the loopback interface."""
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        listener.listen(backlog)
        yield listener


def tcp_pair(family: int = socket.AF_INET) -> Pair:
    """Two ends of one TCP connection."""
    with listening(family) as listener:
        client = socket.socket(family, socket.SOCK_STREAM)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client, server


def tcp6_pair() -> Pair:
    """Two ends of one TCP connection over IPv6 (IPv4 where there is none)."""
    try:
        return tcp_pair(socket.AF_INET6)
    except OSError:
        return tcp_pair()


def udp_pair() -> Pair:
    """Two bound UDP sockets; the first is connected to the second."""
    first, second = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    first.bind(("127.0.0.1", 0))
    second.bind(("127.0.0.1", 0))
    first.connect(second.getsockname())
    return first, second


def datagram_pair() -> Pair:
    """Two connected UNIX datagram sockets."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)


def packet_pair() -> Pair:
    """Two connected UNIX sockets that keep records apart."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


PAIRS: Final[dict[str, Callable[[], Pair]]] = {
    "tcp": tcp_pair,
    "tcp6": tcp6_pair,
    "unix": socket.socketpair,
    "udp": udp_pair,
    "datagram": datagram_pair,
    "packet": packet_pair,
}
STREAMS: Final = ("tcp", "unix")
ALL: Final = tuple(PAIRS)


def on(*kinds: str) -> Callable[[Function], Function]:
    """The case is run once for each kind of `PAIRS`, with both ends as arguments."""

    def note(function: Function) -> Function:
        function.kinds = kinds  # type: ignore[attr-defined] # read by `cases_of`
        return function

    return note


def cases_of(module: Any) -> dict[str, Callable[[], Any]]:
    """The cases of a module by name, each ready to be called."""
    found: dict[str, Callable[[], Any]] = {}
    for name, function in vars(module).items():
        if not name.startswith("case_"):
            continue
        short = name.removeprefix("case_")
        if not hasattr(function, "kinds"):
            found[short] = function
            continue
        for each in function.kinds:
            found[f"{short}-{each}"] = _with_pair(function, PAIRS[each])
    return found


def _with_pair(function: Callable[..., Any], make: Callable[[], Pair]) -> Callable[[], Any]:
    def run() -> Any:
        first, second = make()
        with first, second:
            return function(first, second)

    return run


def fill(sock: socket.socket) -> int:
    """Send until nothing more goes in; how many bytes that were."""
    before = sock.gettimeout()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
    count = 0
    # The kernel may find room for more when the first are on their way; TCP asks again for a window that was too
    # small after 0.2 seconds.
    pauses = (0, 0.03, 0.03) if sock.family == socket.AF_UNIX else (0, 0.05, 0.25)
    still = 0
    while still < len(pauses):
        time.sleep(pauses[still])
        last = count
        with contextlib.suppress(BlockingIOError):
            while True:
                count += sock.send(b"x" * 65536)
        still = still + 1 if last == count else 1
    sock.settimeout(before)
    return count


def receive(sock: socket.socket, size: int) -> bytes:
    """Exactly ``size`` bytes, or fewer at the end of the stream."""
    parts = []
    while size > 0 and (part := sock.recv(min(size, 65536))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


@contextlib.contextmanager
def full_listener() -> Iterator[tuple[str, int]]:
    """The address of a listener with no room for one more connection: connecting takes for ever."""
    with listening(backlog=0) as listener, contextlib.ExitStack() as stack:
        address = listener.getsockname()
        for _ in range(8):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(address)
        settle()
        yield address

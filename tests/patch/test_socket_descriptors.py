"""What graftlet knows of a descriptor never outlives it, and never loses data.

The most dangerous spot of the design: state is kept beside the kernel's, for a number that may be closed,
shared and used again at any time. Here sockets are opened, shared, waited for, closed and thrown away in
random order, and the one question after every step is: does anybody wait who need not?
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import socket
import struct
import time
import warnings
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import graftlet
from graftlet import Greenlet, patch
from graftlet.core._current import get_hub
from graftlet.testing import assert_hub_empty, fresh_hub
from tests.patch.harness.tools import PAIRS, fill, full_listener, tcp_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POLLERS = ("epoll", "poll", "select")
TIMEOUT = 60.0
#: Generated tests are as slow as the kernel: ``GRAFTLET_EXAMPLES=1000`` for a long search.
RELAXED = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    max_examples=int(os.environ.get("GRAFTLET_EXAMPLES", "25")),
    database=None,
    phases=[Phase.explicit, Phase.generate],
)


@pytest.fixture(scope="module", autouse=True)
def cooperative_sockets() -> Iterator[None]:
    patch.patch("socket", "select")
    yield
    patch.unpatch_all()


@pytest.fixture
def clock() -> Callable[[], float]:
    return time.monotonic


@contextlib.contextmanager
def hub_on(poller: str) -> Iterator[None]:
    """A fresh hub with such a poller, empty at the end."""
    before = os.environ.get("GRAFTLET_POLLER")
    os.environ["GRAFTLET_POLLER"] = poller
    try:
        with fresh_hub(time.monotonic) as hub:
            yield
            settle()
            assert_hub_empty(hub)
    finally:
        if before is None:
            del os.environ["GRAFTLET_POLLER"]
        else:
            os.environ["GRAFTLET_POLLER"] = before


@pytest.fixture(params=POLLERS)
def poller(request: pytest.FixtureRequest) -> Iterator[str]:
    with hub_on(request.param):
        yield request.param


def settle() -> None:
    """Let everybody run until nothing more happens."""
    for _ in range(3):
        graftlet.sleep(0)
    graftlet.sleep(0.0005)
    graftlet.sleep(0)


def bad_descriptor(greenlet: Greenlet) -> bool:
    """Whether the greenlet has ended because its descriptor was closed."""
    return (
        greenlet.dead
        and isinstance(greenlet.exception, OSError)
        and greenlet.exception.errno == errno.EBADF
    )


# -- Closed while others wait


def reading(sock: socket.socket) -> dict[str, Callable[[], Any]]:
    return {
        "recv": lambda: sock.recv(10),
        "recv_into": lambda: sock.recv_into(bytearray(10)),
        "recvfrom": lambda: sock.recvfrom(10),
        "recvfrom_into": lambda: sock.recvfrom_into(bytearray(10)),
        "recvmsg": lambda: sock.recvmsg(10),
        "recvmsg_into": lambda: sock.recvmsg_into([bytearray(10)]),
        "peek": lambda: sock.recv(10, socket.MSG_PEEK),
        "all": lambda: sock.recv(10, socket.MSG_WAITALL),
    }


def writing(sock: socket.socket) -> dict[str, Callable[[], Any]]:
    return {
        "send": lambda: sock.send(b"x" * 100_000),
        "sendall": lambda: sock.sendall(b"x" * 100_000),
        "sendmsg": lambda: sock.sendmsg([b"x" * 100_000]),
    }


def quiet(function: Callable[[], Any]) -> Greenlet:
    """A greenlet whose failure is expected."""

    class Expected(Greenlet):
        def _report(self, error: BaseException, where: str = "") -> None:
            pass

    greenlet = Expected(function)
    greenlet.start()
    return greenlet


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("timeout", [None, TIMEOUT])
@pytest.mark.parametrize("end", ["close", "detach"])
def test_closed_while_others_wait(poller: str, kind: str, timeout: float | None, end: str) -> None:
    a, b = PAIRS[kind]()
    a.settimeout(timeout)
    waiting = [quiet(call) for call in reading(a).values()]
    if kind in {"tcp", "unix"}:
        fill(a)
        a.settimeout(timeout)
        waiting += [quiet(call) for call in writing(a).values()]
    settle()
    assert not any(greenlet.dead for greenlet in waiting)
    number = None
    if end == "detach":
        number = a.detach()
    else:
        a.close()
    settle()
    assert all(bad_descriptor(greenlet) for greenlet in waiting), waiting
    b.close()
    if number is not None:
        os.close(number)


def test_listener_closed_while_others_accept(poller: str) -> None:
    for timeout in (None, TIMEOUT):
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(timeout)
        waiting = [quiet(listener.accept) for _ in range(3)]
        settle()
        listener.close()
        settle()
        assert all(bad_descriptor(greenlet) for greenlet in waiting)


def test_closed_while_connecting(poller: str) -> None:
    for timeout in (None, TIMEOUT):
        with full_listener() as address:
            client = socket.socket()
            client.settimeout(timeout)
            connecting = quiet(lambda client=client, address=address: client.connect(address))  # type: ignore[misc] # mypy can't infer a lambda with defaults
            settle()
            assert not connecting.dead
            client.close()
            settle()
            assert bad_descriptor(connecting)


def test_made_non_blocking_while_connecting(poller: str) -> None:
    with full_listener() as address, socket.socket() as client:
        connecting = quiet(lambda: client.connect(address))
        settle()
        client.setblocking(False)
        ticks = 0
        for _ in range(100):
            graftlet.sleep(0)
            ticks += 1
        connecting.kill(block=True)
        assert ticks == 100


def test_read_through_a_file_when_its_socket_is_closed(poller: str) -> None:
    a, b = tcp_pair()
    file = a.makefile("rb")
    reader = graftlet.spawn(file.read, 3)
    settle()
    a.close()  # the file keeps it open
    settle()
    assert not reader.dead
    b.sendall(b"abc")
    assert reader.get(timeout=TIMEOUT) == b"abc"
    file.close()
    b.close()


# -- Killed, timed out: nothing stays behind


@given(st.data())
@RELAXED
@pytest.mark.parametrize("poller_name", POLLERS)
def test_leaving_a_wait(poller_name: str, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["tcp", "unix"]))
    with hub_on(poller_name), contextlib.ExitStack() as stack:
        a, b = map(stack.enter_context, PAIRS[kind]())
        filled = fill(a) if data.draw(st.booleans()) else 0
        a.settimeout(data.draw(st.sampled_from([None, TIMEOUT])))
        calls = [*reading(a).values(), *(writing(a).values() if filled else ())]
        waiting = [
            quiet(data.draw(st.sampled_from(calls))) for _ in range(data.draw(st.integers(1, 6)))
        ]
        settle()
        for greenlet in data.draw(st.permutations(waiting)):
            match data.draw(st.sampled_from(["kill", "timeout", "time-out of the socket", "both"])):
                case "kill":
                    greenlet.kill()
                case "timeout":
                    get_hub().throw(greenlet, graftlet.Timeout(0))
                case "both":
                    b.send(b"x")
                    greenlet.kill()
                case _:
                    pass
            if data.draw(st.booleans()):
                settle()
        graftlet.killall(waiting)
        # Afterwards the socket is as good as new.
        a.settimeout(TIMEOUT)
        b.settimeout(TIMEOUT)
        b.sendall(b"end")
        received = b""
        while not received.endswith(b"end"):
            received += a.recv(10)


# -- Streams against a model


@dataclass
class Part:
    """What one end does next."""

    size: int
    pause: int
    how: str


PARTS = st.lists(
    st.builds(
        Part,
        size=st.one_of(st.integers(1, 40), st.integers(1, 70_000)),
        pause=st.sampled_from([0, 0, 0, 1, 2]),
        how=st.sampled_from(
            ["recv", "recv_into", "recvfrom", "recvmsg", "peek", "poll", "file", "all"]
        ),
    ),
    min_size=1,
    max_size=12,
)


#: After so many parts an end rests no more: the bytes of a long stream would take it seconds of sleep.
RESTS = 50


def rest(pause: int, turn: int = 0) -> None:
    if turn > RESTS:
        return
    if pause == 1:
        graftlet.sleep(0)
    elif pause == 2:
        graftlet.sleep(0.0005)


def send_parts(sock: socket.socket, data: bytes, parts: list[Part], end: str) -> None:
    sent = 0
    turn = 0
    while sent < len(data):
        part = parts[turn % len(parts)]
        turn += 1
        rest(part.pause, turn)
        chunk = data[sent : sent + part.size]
        match part.how:
            case "recvmsg":
                sent += sock.sendmsg([chunk[: part.size // 2], chunk[part.size // 2 :]])
            case "recvfrom":
                sent += sock.send(chunk)
            case _:
                sock.sendall(chunk)
                sent += len(chunk)
    rest(parts[0].pause)
    if end == "close":
        sock.close()
    elif end == "shutdown":
        sock.shutdown(socket.SHUT_WR)


def receive_parts(sock: socket.socket, parts: list[Part]) -> bytes:
    received = b""
    turn = 0
    file = sock.makefile("rb", buffering=0)
    while True:
        part = parts[turn % len(parts)]
        turn += 1
        rest(part.pause, turn)
        match part.how:
            case "recv_into":
                buffer = bytearray(part.size)
                data = bytes(buffer[: sock.recv_into(buffer)])
            case "recvfrom":
                data, _ = sock.recvfrom(part.size)
            case "recvmsg":
                data, _, _, _ = sock.recvmsg(part.size)
            case "peek":
                peeked = sock.recv(part.size, socket.MSG_PEEK)
                data = sock.recv(part.size)
                assert data.startswith(peeked)
            case "poll":
                select.select([sock], [], [])
                data = sock.recv(part.size)
            case "file":
                data = file.read(part.size)
            case "all":
                data = sock.recv(part.size, socket.MSG_WAITALL)
            case _:
                data = sock.recv(part.size)
        if not data:
            file.close()
            return received
        received += data


@pytest.mark.parametrize("poller_name", POLLERS)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["tcp", "unix"]),
            PARTS,
            PARTS,
            st.integers(0, 200_000),
            st.sampled_from(["close", "shutdown"]),
            st.sampled_from([None, TIMEOUT]),
        ),
        min_size=1,
        max_size=4,
    )
)
@RELAXED
def test_streams_lose_nothing(
    poller_name: str, connections: list[tuple[str, list[Part], list[Part], int, str, float | None]]
) -> None:
    with hub_on(poller_name):
        running = []
        for kind, writes, reads, size, end, timeout in connections:
            a, b = PAIRS[kind]()
            a.settimeout(timeout)
            b.settimeout(timeout)
            data = os.urandom(size)
            # Both directions at once.
            tasks = [
                graftlet.spawn(send_parts, a, data, writes, "shutdown"),
                graftlet.spawn(receive_parts, a, reads),
                graftlet.spawn(send_parts, b, data, reads, "shutdown"),
                graftlet.spawn(receive_parts, b, writes),
            ]
            running.append((data, tasks, a, b, end))
        for data, tasks, a, b, end in running:
            graftlet.joinall(tasks, timeout=20, raise_error=True)
            assert [task.get(block=False) for task in tasks] == [None, data, None, data]
            if end == "close":
                b.close()
                assert a.recv(1) == b""
            a.close()
            b.close()


# -- Edges that carry more than one thing


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("size", [1, 4, 5, 100])
def test_data_and_end_in_one_edge(poller: str, kind: str, size: int) -> None:
    for armed in (False, True):
        a, b = PAIRS[kind]()
        if armed:
            reader = graftlet.spawn(a.recv, 100)
            settle()
            b.sendall(b"first")
            assert reader.get() == b"first"
        reader = graftlet.spawn(a.recv, size)
        settle()
        b.sendall(b"data.")
        b.close()
        received = reader.get(timeout=TIMEOUT)
        while data := a.recv(size):
            received += data
        assert received == b"data."
        a.close()


def test_data_and_reset_in_one_edge(poller: str) -> None:
    a, b = tcp_pair()
    reader = graftlet.spawn(a.recv, 100)
    settle()
    b.sendall(b"first")
    assert reader.get() == b"first"
    reader = quiet(lambda: a.recv(3))
    settle()
    b.sendall(b"last words")
    b.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    b.close()
    seen = reader.get(timeout=TIMEOUT)
    with pytest.raises(ConnectionResetError):  # noqa: PT012 - whichever read comes to it
        while True:
            data = a.recv(3)
            assert data
            seen += data
    assert b"last words".startswith(seen)
    a.close()


def test_urgent_data_in_the_middle(poller: str) -> None:
    a, b = tcp_pair()
    a.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    reader = graftlet.spawn(a.recv, 100)
    settle()
    b.sendall(b"first")
    assert reader.get() == b"first"
    for number in range(20):
        b.sendall(b"before%d" % number)
        b.send(b"!", socket.MSG_OOB)
        b.sendall(b"after%d" % number)
        expected = b"before%d!after%d" % (number, number)
        received = b""
        while len(received) < len(expected):
            received += a.recv(100)  # stops at the mark
        assert received == expected
    a.close()
    b.close()


def test_data_that_comes_between_two_reads(poller: str) -> None:
    a, b = tcp_pair()
    reader = graftlet.spawn(a.recv, 100)
    settle()
    b.sendall(b"x")
    reader.get()
    for number in range(200):
        b.sendall(b"a%d" % number)
        assert a.recv(100) == b"a%d" % number  # short: the kernel's buffer is empty
        reader = graftlet.spawn(a.recv, 100)
        if number % 2:
            graftlet.sleep(0)
        b.sendall(b"b%d" % number)
        assert reader.get(timeout=TIMEOUT) == b"b%d" % number
    a.close()
    b.close()


# -- The life of descriptors, at random


@dataclass
class Stream:
    """One connection, and all objects that stand for its near end."""

    far: socket.socket | None
    near: list[socket.socket]
    sent: int = 0
    received: list[bytes] = field(default_factory=list)
    readers: list[tuple[Greenlet, socket.socket]] = field(default_factory=list)
    broken: bool = False

    @property
    def pending(self) -> int:
        return self.sent - sum(map(len, self.received))


class Descriptors(RuleBasedStateMachine):
    """Sockets are opened, shared, waited for and thrown away."""

    poller = "epoll"

    @initialize()
    def begin(self) -> None:
        self.stack = contextlib.ExitStack()
        self.stack.enter_context(hub_on(self.poller))
        self.streams: list[Stream] = []
        self.thrown_away: list[weakref.ref[socket.socket]] = []

    def pick(self, data: st.DataObject) -> Stream:
        return data.draw(st.sampled_from(self.streams))

    @rule(kind=st.sampled_from(["tcp", "unix"]))
    def open(self, kind: str) -> None:
        near, far = PAIRS[kind]()
        self.streams.append(Stream(far, [near]))

    @precondition(lambda self: self.streams)
    @rule(data=st.data(), size=st.integers(1, 50))
    def send(self, data: st.DataObject, size: int) -> None:
        stream = self.pick(data)
        if stream.far is not None and stream.near:
            chunk = bytes((stream.sent + offset) % 251 for offset in range(size))
            stream.far.sendall(chunk)
            stream.sent += size

    @precondition(lambda self: self.streams)
    @rule(
        data=st.data(),
        size=st.integers(1, 60),
        how=st.sampled_from(["recv", "recv_into", "recvmsg"]),
    )
    def read(self, data: st.DataObject, size: int, how: str) -> None:
        stream = self.pick(data)
        if not stream.near:
            return
        sock = data.draw(st.sampled_from(stream.near))

        def work() -> bytes:
            if how == "recv":
                got = sock.recv(size)
            elif how == "recv_into":
                buffer = bytearray(size)
                got = bytes(buffer[: sock.recv_into(buffer)])
            else:
                got = sock.recvmsg(size)[0]
            stream.received.append(got)
            return got

        stream.readers.append((quiet(work), sock))

    @precondition(lambda self: self.streams)
    @rule(data=st.data(), how=st.sampled_from(["dup", "fromfd"]))
    def share(self, data: st.DataObject, how: str) -> None:
        stream = self.pick(data)
        if stream.near:
            sock = data.draw(st.sampled_from(stream.near))
            if how == "dup":
                stream.near.append(sock.dup())
            else:
                stream.near.append(socket.fromfd(sock.fileno(), sock.family, sock.type))

    @precondition(lambda self: self.streams)
    @rule(data=st.data(), how=st.sampled_from(["close", "detach", "adopt"]))
    def end(self, data: st.DataObject, how: str) -> None:
        stream = self.pick(data)
        if not stream.near:
            return
        sock = stream.near.pop(data.draw(st.integers(0, len(stream.near) - 1)))
        if how == "close":
            sock.close()
        else:
            number = sock.detach()
            if how == "adopt":
                stream.near.append(socket.socket(fileno=number))
            else:
                os.close(number)
        self.leave(stream, sock)

    def leave(self, stream: Stream, sock: socket.socket) -> None:
        """Whoever waits for this object hears of its end at once."""
        settle()
        for reader, of in stream.readers:
            if of is sock:
                assert bad_descriptor(reader) or reader.successful(), reader
        stream.readers = [(reader, of) for reader, of in stream.readers if of is not sock]

    @precondition(lambda self: self.streams)
    @rule(data=st.data())
    def throw_away(self, data: st.DataObject) -> None:
        stream = self.pick(data)
        busy = {id(of) for reader, of in stream.readers if not reader.dead}
        stream.readers = [(reader, of) for reader, of in stream.readers if not reader.dead]
        idle = [sock for sock in stream.near if id(sock) not in busy]
        if idle:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                self.thrown_away.append(weakref.ref(idle[0]))
                stream.near.remove(idle[0])
                del idle
                gc.collect(0)

    @precondition(lambda self: self.streams)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        stream = self.pick(data)
        if stream.readers:
            reader, _ = stream.readers.pop(data.draw(st.integers(0, len(stream.readers) - 1)))
            reader.kill(block=True)

    @precondition(lambda self: self.streams)
    @rule(data=st.data(), how=st.sampled_from(["close", "shutdown"]))
    def end_of_stream(self, data: st.DataObject, how: str) -> None:
        stream = self.pick(data)
        if stream.far is not None:
            if how == "shutdown":
                with contextlib.suppress(OSError):  # reset, if the near end was thrown away
                    stream.far.shutdown(socket.SHUT_WR)
                self.stack.callback(stream.far.close)
            else:
                stream.far.close()
            stream.far = None

    @rule()
    def pause(self) -> None:
        settle()

    @rule()
    def yield_once(self) -> None:
        graftlet.sleep(0)

    @invariant()
    def nobody_waits_for_what_is_there(self) -> None:
        if not getattr(self, "streams", None):
            return
        settle()
        for stream in self.streams:
            waiting = [reader for reader, _ in stream.readers if not reader.dead]
            if waiting:
                assert stream.pending == 0, f"{stream.pending} bytes are there for {waiting}"
                assert stream.far is not None, f"the stream has ended, but there wait {waiting}"
            received = b"".join(stream.received)
            # Each byte once, in order: greenlets that were ready run in turn.
            assert received == bytes(offset % 251 for offset in range(len(received)))

    def teardown(self) -> None:
        if not hasattr(self, "streams"):
            return
        for stream in self.streams:
            for sock in (*stream.near, stream.far):
                if sock is not None:
                    sock.close()
        for reference in self.thrown_away:
            if (left := reference()) is not None:
                left.close()  # some frame still has it
        settle()
        self.stack.close()


# What is thrown away on purpose may still be in some frame then, and goes a moment later.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("poller_name", POLLERS)
def test_life_of_descriptors(poller_name: str) -> None:
    machine = type("Machine", (Descriptors,), {"poller": poller_name})
    run_state_machine_as_test(machine, settings=settings(RELAXED, stateful_step_count=30))

"""What only graftlet's TLS sockets do: let others run, leave nothing behind, know greenlets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.isolated import run_ok

PEM = Path(__file__).with_name("localhost.pem")

PRELUDE = """
import gc, os, socket, ssl, sys, threading, time, warnings
import graftlet, graftlet.patch

warnings.simplefilter("ignore", ResourceWarning)  # the scripts end with sockets open
server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server_context.load_cert_chain(sys.argv[1])
client_context = ssl.create_default_context(cafile=sys.argv[1])

def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    for end in (client, server):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    return client, server

def tls_pair():
    client, server = tcp_pair()
    made = []
    def accept():
        made.append(server_context.wrap_socket(server, server_side=True))
    thread = threading.Thread(target=accept)
    thread.start()
    client = client_context.wrap_socket(client, server_hostname="localhost")
    thread.join()
    return client, made[0]

def receive(sock, size):
    parts = []
    while size > 0 and (part := sock.recv(min(size, 65536))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)

def outcome(function, *args):
    try:
        return function(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def settled():
    for _ in range(5):
        graftlet.sleep(0.002)

def check_hub():
    # Nobody waits, nothing is left to do.
    settled()
    hub = graftlet.get_hub()
    for watch in list(hub.watches.values()):
        assert not watch.waits(False) and not watch.waits(True) and watch.more is None, watch
    assert not hub.ready and not hub.inbox
    for each in gc.get_objects():
        if type(each).__name__ == "Tls":
            assert each._busy is None and not each._inside
    assert hub.deadlines.earliest_wanted() == float("inf")

BIG = b"0123456789abcdef" * (1 << 18)
old = tls_pair()
"""

PATCHED = f"{PRELUDE}\ngraftlet.patch.patch_all()\n"

#: A function that waits for each kind of reason, on a connection whose peer does nothing.
WAITS = {
    "read": "a.recv(10)",
    "write": "a.sendall(BIG)",
    "unwrap": "a.unwrap()",
    "handshake": "client_context.wrap_socket(clients.pop(), server_hostname='localhost')",
}


def script(text: str, before: str = PATCHED, **environment: str) -> str:
    return run_ok(before + text, str(PEM), environment=environment)


@pytest.mark.parametrize("poller", ["epoll", "poll"])
@pytest.mark.parametrize("made", ["old", "tls_pair()"])
def test_a_kill_or_a_timeout_leaves_nothing_registered(made: str, poller: str) -> None:
    pairs = f"pairs = [{made}, tls_pair(), tls_pair()]"
    waits = "".join(f"\ndef {name}(a): {text}" for name, text in WAITS.items())
    out = script(
        f"""
{pairs}
a, b = pairs[0]
ends = [tcp_pair(), tcp_pair()]
clients = [end[0] for end in ends]
{waits}
a.settimeout(60)
for wait in (read, write, unwrap, handshake):
    a, b = (pairs if wait in (read, unwrap) else pairs[1:] if wait is write else pairs[2:])[0]
    with graftlet.Timeout(0.01, False):
        wait(a)
        print("not reached")
    waiting = graftlet.spawn(wait, a)
    settled()
    waiting.kill(block=True)
    print(wait.__name__, repr(waiting.value))
    if wait is read:
        b.sendall(b"later")
        print(a.recv(10))
    check_hub()
""",
        GRAFTLET_POLLER=poller,
    )
    assert out.splitlines() == [
        "read GreenletExit()",
        "b'later'",
        "write GreenletExit()",
        "unwrap GreenletExit()",
        "handshake GreenletExit()",
    ]


@pytest.mark.parametrize("made", ["old", "tls_pair()"])
def test_closing_wakes_whoever_waits(made: str) -> None:
    out = script(
        f"""
for call in (lambda a: a.recv(10), lambda a: a.sendall(BIG), lambda a: a.unwrap()):
    a, b = {made} if call.__code__.co_consts[-1] == 10 else tls_pair()
    waiting = graftlet.spawn(outcome, call, a)
    settled()
    a.close()
    print(waiting.get(timeout=1), a.fileno())
a, b = tcp_pair()
a.settimeout(60)
tls = client_context.wrap_socket(a, server_hostname="localhost", do_handshake_on_connect=False)
waiting = graftlet.spawn(outcome, tls.do_handshake)
settled()
tls.close()
print(waiting.get(timeout=1))
check_hub()
"""
    )
    closed = "OSError: [Errno 9] Bad file descriptor"
    assert out.splitlines() == [f"{closed} -1"] * 3 + [closed]


@pytest.mark.parametrize("made", ["old", "tls_pair()"])
def test_writers_take_turns(made: str) -> None:
    """A record that is half sent must be finished before another one begins."""
    out = script(
        f"""
a, b = {made}
first = graftlet.spawn(a.sendall, BIG)
settled()
others = [graftlet.spawn(a.sendall, b"%d" % number * 100) for number in range(3)]
settled()
print([greenlet.ready() for greenlet in (first, *others)])
got = receive(b, len(BIG) + 300)
print(got.startswith(BIG), sorted(got[len(BIG):][at:at + 100][:1] for at in (0, 100, 200)))
graftlet.joinall([first, *others], raise_error=True)

first = graftlet.spawn(a.sendall, BIG)
settled()
a.settimeout(0.01)
print(outcome(a.sendall, b"x"))
a.settimeout(None)
second = graftlet.spawn(a.sendall, b"y" * 100)
settled()
print(receive(b, len(BIG) + 100) == BIG + b"y" * 100)
graftlet.joinall([first, second], raise_error=True)
check_hub()
"""
    )
    assert out.splitlines() == [
        "[False, False, False, False]",
        "True [b'0', b'1', b'2']",
        "TimeoutError: The write operation timed out",
        "True",
    ]


def test_data_that_is_being_sent_cannot_be_resized() -> None:
    out = script(
        """
a, b = tls_pair()
data = bytearray(BIG)
sending = graftlet.spawn(a.send, data)
settled()
print(outcome(data.clear))
print(receive(b, len(BIG)) == BIG, sending.get() == len(BIG))
data.clear()
"""
    )
    assert out.splitlines() == [
        "BufferError: Existing exports of data: object cannot be re-sized",
        "True True",
    ]


@pytest.mark.parametrize("made", ["old", "tls_pair()"])
def test_native_threads_block_natively(made: str) -> None:
    """Threads without a hub, beside a hub that uses the same sockets."""
    out = script(
        f"""
graftlet.patch.patch_all(threading=False, queue=False)
pair = {made}
got = {{}}
def native(name, function, *args):
    got[name] = outcome(function, *args)
def start(name, function, *args):
    thread = threading.Thread(target=native, args=(name, function, *args))
    thread.start()
    return thread
a, b = pair
threads = [start("sent", a.sendall, BIG), start("received", receive, a, len(BIG))]
writer = graftlet.spawn(b.sendall, BIG)
assert receive(b, len(BIG)) == BIG
writer.join()
while any(thread.is_alive() for thread in threads):
    graftlet.sleep(0.001)
print(got["sent"], got["received"] == BIG)
a.settimeout(0.02)
start("late", a.recv, 10).join()
start("end", a.unwrap).join()
print(got["late"], got["end"], a.gettimeout(), sep=", ")
a, b = tcp_pair()
a.settimeout(0.02)
start("handshake", client_context.wrap_socket, a, False).join()
start("handshake", lambda: client_context.wrap_socket(a, server_hostname="localhost")).join()
print("The handshake operation timed out" in got["handshake"])
check_hub()
""",
        before=PRELUDE,
    )
    late = "TimeoutError: The read operation timed out"
    assert out.splitlines() == ["None True", f"{late}, {late}, 0.02", "True"]


def test_old_sockets_tell_two_threads_the_truth() -> None:
    """C sees a time-out of 0 during each call, and nobody else may."""
    out = script(
        """
graftlet.patch.patch_all(threading=False, queue=False)
sys.setswitchinterval(1e-6)
a, b = old
a.settimeout(30)
wrong = []
def write():
    try:
        for number in range(3000):
            a.sendall(b"%4d" % number)
    except Exception as error:
        wrong.append(error)
thread = threading.Thread(target=write)
thread.start()
answering = graftlet.spawn(lambda: [b.sendall(b.recv(4096)) for _ in iter(int, 1)])
expected = b"".join(b"%4d" % number for number in range(3000))
print(receive(a, len(expected)) == expected, wrong, a.gettimeout(), os.get_blocking(a.fileno()))
answering.kill(block=True)
thread.join()
""",
        before=PRELUDE,
    )
    assert out.splitlines() == ["True [] 30.0 False"]


def test_two_hubs_on_one_socket() -> None:
    out = script(
        """
graftlet.patch.patch_all(threading=False, queue=False)
a, b = tls_pair()
got = []
def other_hub():
    graftlet.get_hub()
    got.append(graftlet.spawn(receive, a, len(BIG)).get() == BIG)
thread = threading.Thread(target=other_hub)
thread.start()
reader = graftlet.spawn(receive, b, len(BIG))
writers = [graftlet.spawn(a.sendall, BIG), graftlet.spawn(b.sendall, BIG)]
graftlet.joinall(writers, raise_error=True)
print(reader.get() == BIG)
while thread.is_alive():
    graftlet.sleep(0.001)
print(got)
""",
        before=PRELUDE,
    )
    assert out.splitlines() == ["True", "[True]"]


def test_sockets_outlive_unpatching() -> None:
    out = script(
        """
def exchange(a, b):
    def answer():
        for _ in range(3):
            b.sendall(b.recv(100))
    thread = threading.Thread(target=answer)
    thread.start()
    got = []
    if a.gettimeout() is not None:
        a.settimeout(60)
    for number in range(3):
        a.sendall(b"%d" % number)
        got.append(a.recv(100))
    thread.join()
    a.settimeout(0.02)
    return got, outcome(a.recv, 1)

groups = ("time", "select", "dns", "socket", "ssl")  # the threads stay native
graftlet.patch.patch(*groups)
new = tls_pair()
new[0].settimeout(0.02)
print(exchange(*old), exchange(*new))
graftlet.patch.unpatch_all()
assert ssl.SSLSocket.sendall.__module__ == "ssl"
assert not {"settimeout", "detach"} & set(vars(ssl.SSLSocket))
assert "_wrap_socket" not in vars(ssl.SSLContext)
print(exchange(*old), exchange(*new), exchange(*tls_pair()))
graftlet.patch.patch(*groups)
print(exchange(*old), exchange(*new))
""",
        before=PRELUDE,
    )
    each = "([b'0', b'1', b'2'], 'TimeoutError: The read operation timed out')"
    assert out.splitlines() == [f"{each} {each}", f"{each} {each} {each}", f"{each} {each}"]


def test_a_forked_child_goes_on_with_a_connection() -> None:
    out = script(
        """
a, b = tls_pair()
graftlet.spawn(a.recv, 10)
settled()
b.sendall(b"x")
settled()
child = os.fork()
if child == 0:
    reader = graftlet.spawn(a.recv, 10)
    settled()
    os._exit(0 if reader.get(timeout=5) == b"for child" else 1)
a.close()
graftlet.sleep(0.01)
b.sendall(b"for child")
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""",
    )
    assert out.splitlines() == ["0"]


def test_a_socket_that_was_collected_leaves_its_number_alone() -> None:
    out = script(
        """
import gc
for _ in range(3):
    a, b = tls_pair()
    reader = graftlet.spawn(ssl.SSLSocket.recv, a, 10)
    settled()
    b.sendall(b"x")
    print(reader.get(), end=" ")
    number = a.fileno()
    del a, reader
    gc.collect()
    c, d = tls_pair()
    reader = graftlet.spawn(ssl.SSLSocket.recv, c if c.fileno() == number else d, 10)
    settled()
    gc.collect()
    (d if c.fileno() == number else c).sendall(b"y")
    print(reader.get(), number in (c.fileno(), d.fileno()))
    del b, c, d, reader
    gc.collect()
"""
    )
    assert out.splitlines() == ["b'x' b'y' True"] * 3


@pytest.mark.skipif(
    sys.version_info < (3, 15), reason="sendfile goes through the kernel since 3.15"
)
def test_the_kernels_own_sendfile_waits_like_a_write() -> None:
    """Kernels that speak TLS are rare: what OpenSSL would call is stood in for."""
    out = script(
        """
import tempfile
a, b = tls_pair()
class Real:
    def __init__(self, real):
        self.real = real
        self.calls = []
    def __getattr__(self, name):
        return getattr(self.real, name)
    def uses_ktls_for_send(self):
        return True
    def sendfile(self, number, offset, size):
        self.calls.append(size)
        if len(self.calls) == 2:
            while True:  # until the kernel's buffer is full
                try:
                    os.write(a.fileno(), b"x" * 65536)
                except BlockingIOError:
                    raise ssl.SSLWantWriteError from None
        return min(size, 3, 5 - offset)
real = a._sslobj.real = Real(a._sslobj.real)
with tempfile.TemporaryFile() as file:
    file.write(b"01234")
    file.flush()
    file.seek(0)
    sending = graftlet.spawn(a.sendfile, file)
    settled()
    print(sending.ready(), real.calls)
    while not sending.ready():
        os.read(b.fileno(), 65536)
        graftlet.sleep(0)
    print(sending.get(), real.calls)
"""
    )
    assert out.splitlines() == ["False [5, 5]", "5 [5, 5, 5, 5]"]


@pytest.mark.slow  # twenty slow answers are awaited, in real time
def test_twenty_slow_https_requests_overlap_and_nobody_stalls() -> None:
    out = script(
        """
import http.client, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        assert here.wait(20) >= 0  # until all twenty are being answered
        time.sleep(0.1)
        body = self.path.encode() * 10_000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

here = threading.Barrier(20)

class Server(ThreadingHTTPServer):
    request_queue_size = 50

server = Server(("127.0.0.1", 0), Handler)
server.socket = server_context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever).start()
port = server.server_address[1]

def by_http_client(path):
    connection = http.client.HTTPSConnection("localhost", port, context=client_context)
    connection.request("GET", path)
    body = connection.getresponse().read()
    connection.close()
    return body

def by_urllib(path):
    with urllib.request.urlopen(f"https://localhost:{port}{path}", context=client_context) as answer:
        return answer.read()

right = []
def check(function, path):
    right.append(function(path) == path.encode() * 10_000)

def tick():
    global longest
    last = time.perf_counter()
    while ticking:
        time.sleep(0.001)
        now = time.perf_counter()
        longest = max(longest, now - last)
        last = now

# The machine may be busy, too: but if graftlet blocks, it blocks each time.
stalls = []
while len(stalls) < 5 and min(stalls, default=1) > 0.05:
    longest, ticking = 0, True
    ticker = threading.Thread(target=tick)
    ticker.start()
    threads = [
        threading.Thread(target=check, args=(function, f"/{number}"))
        for function in (by_http_client, by_urllib)
        for number in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ticking = False
    ticker.join()
    stalls.append(longest)
print(all(right), len(right) == 20 * len(stalls), min(stalls) < 0.05 or stalls)
server.shutdown()
server.server_close()
"""
    )
    assert out.splitlines() == ["True True True"]

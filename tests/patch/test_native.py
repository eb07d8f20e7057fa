"""`graftlet.native` is the real thing, before and after patching; native threads are left as they were.

Each script is run twice: patched before ``graftlet.native`` is imported, and after its objects exist.
"""

from __future__ import annotations

import pytest

from tests.isolated import run_ok

ORDERS = pytest.mark.parametrize("order", ["first", "last"])

#: ``patch_last()`` stands where objects of `graftlet.native` exist, in mode ``last`` natively made.
PRELUDE = """
import sys
import graftlet
if sys.argv[1] == "first":
    graftlet.patch_all()
import threading, time, queue
from graftlet import native
from graftlet.core import _original
def patch_last():
    if sys.argv[1] == "last":
        graftlet.patch_all()
def blocks_natively(call):
    '''Whether no greenlet gets to run while the main greenlet is in ``call``.'''
    ran = []
    greenlet = graftlet.spawn(ran.append, 1)
    call()
    natively = not ran
    greenlet.join()
    return natively
ticks = []
def until_it_ticks(count):
    '''Wait until a greenlet has run so often; in a native thread, with no way to let it.'''
    while len(ticks) < count:
        time.sleep(0.001)
def ticks_during(call):
    '''How often a greenlet gets to run while the main greenlet is in ``call``.'''
    ticks.clear()
    def tick():
        while True:
            ticks.append(1)
            time.sleep(0.001)
    greenlet = graftlet.spawn(tick)
    call()
    greenlet.kill(block=True)
    return len(ticks)
"""


def script(body: str, order: str) -> str:
    return run_ok(PRELUDE + body, order)


@ORDERS
def test_what_is_made_of_c_is_cs_own(order: str) -> None:
    out = script(
        """
import _thread, _queue, select
lock, rlock, simple, local = native.Lock(), native.RLock(), native.SimpleQueue(), native.local()
kept = [lock]
patch_last()
print(type(lock) is _original.LockType, kept[0] is lock, isinstance(rlock, _original.RLock))
print(isinstance(simple, _original.SimpleQueue), isinstance(local, _original.ThreadLocal))
for name in ("sleep", "get_ident", "select", "read", "write", "close", "getaddrinfo", "waitpid"):
    assert getattr(native, name) is getattr(_original, name), name
print(native.sleep is not time.sleep, native.select is not select.select)
print(threading.Lock() is not None and type(threading.Lock()) is not type(native.Lock()))
graftlet.unpatch_all()
print(type(lock) is _original.LockType, type(kept[0]) is type(threading.Lock()))
""",
        order,
    )
    assert out == "True True True\nTrue True\nTrue True\nTrue\nTrue True\n"


@ORDERS
def test_what_is_made_of_python_stands_on_c_locks(order: str) -> None:
    """And stays what ``isinstance`` takes it for."""
    out = script(
        """
pairs = [
    (native.Condition(), threading.Condition), (native.Event(), threading.Event),
    (native.Semaphore(), threading.Semaphore), (native.Barrier(2), threading.Barrier),
    (native.BoundedSemaphore(), threading.BoundedSemaphore), (native.Queue(), queue.Queue),
    (native.LifoQueue(), queue.LifoQueue), (native.PriorityQueue(), queue.PriorityQueue),
]
patch_last()
C = (_original.LockType, _original.RLock)
for made, kind in pairs:
    assert isinstance(made, kind), kind
    condition = getattr(made, "_cond", getattr(made, "not_empty", made))
    assert isinstance(condition._lock, C), (kind, condition._lock)
    assert isinstance(condition.acquire.__self__, C), kind
    assert type(condition) is native.Condition, kind
    if isinstance(made, queue.Queue):
        assert isinstance(made.mutex, C), kind
print("ok")
""",
        order,
    )
    assert out == "ok\n"


@ORDERS
def test_whoever_waits_keeps_the_native_thread_waiting(order: str) -> None:
    out = script(
        """
lock, rlock, event, condition = native.Lock(), native.RLock(), native.Event(), native.Condition()
semaphore, items, simple = native.Semaphore(0), native.Queue(), native.SimpleQueue()
lifo, priority, bounded = native.LifoQueue(), native.PriorityQueue(), native.BoundedSemaphore(1)
server = native.socket()
server.bind(("127.0.0.1", 0))
server.listen()
server.settimeout(0.02)
lock.acquire()
bounded.acquire()
patch_last()
def times_out(error, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except error:
        return
    raise AssertionError(call)
def wait_condition():
    with condition:
        assert not condition.wait(0.02)
calls = {
    "sleep": lambda: native.sleep(0.02),
    "lock": lambda: lock.acquire(timeout=0.02),
    "event": lambda: event.wait(0.02),
    "condition": wait_condition,
    "semaphore": lambda: semaphore.acquire(timeout=0.02),
    "bounded": lambda: bounded.acquire(timeout=0.02),
    "queue": lambda: times_out(queue.Empty, items.get, timeout=0.02),
    "lifo": lambda: times_out(queue.Empty, lifo.get, timeout=0.02),
    "priority": lambda: times_out(queue.Empty, priority.get, timeout=0.02),
    "simple": lambda: times_out(queue.Empty, simple.get, timeout=0.02),
    "socket": lambda: times_out(TimeoutError, server.accept),
    "select": lambda: native.select([server], [], [], 0.02),
}
for name, call in calls.items():
    began = time.monotonic()
    assert blocks_natively(call), name
    assert time.monotonic() - began >= 0.019, name
print(blocks_natively(lambda: time.sleep(0.001)))
server.close()
""",
        order,
    )
    assert out == "False\n"


@ORDERS
def test_a_native_thread_is_one(order: str) -> None:
    """Its sleep blocks only itself, though it calls the patched one; greenlets join it, and wait for it."""
    out = script(
        """
seen = {}
done = threading.Event()
def work(key):
    from graftlet.core._current import hub_or_none
    time.sleep(0.03)
    until_it_ticks(4)
    seen[key] = native.get_ident(), threading.get_ident(), threading.current_thread().name
    seen["hub"] = hub_or_none()
    done.set()
thread = native.Thread(target=work, args=("a",), name="agent")
patch_last()
def start_and_join():
    thread.start()
    assert thread in threading.enumerate() and thread.is_alive()
    thread.join()
print(ticks_during(start_and_join) > 3, thread.is_alive(), isinstance(thread, threading.Thread))
print(seen["a"][0] == seen["a"][1] == thread.ident != native.get_ident(), seen["a"][2], seen["hub"])
done.clear()
ticks.clear()
second = native.Thread(target=work, args=("b",))
second.start()
print(ticks_during(done.wait) > 3)
second.join(0)
second.join()
print(second in threading.enumerate())
gate = native.Event()
third = native.Thread(target=gate.wait)
third.start()
third.join(0.001)
print(third.is_alive())
gate.set()
third.join()
timer = native.Timer(0.01, lambda: seen.update(timer=native.get_ident()))
timer.start()
timer.join()
print(seen["timer"] == timer.ident != native.get_ident(), isinstance(timer, threading.Timer))
cancelled = native.Timer(10, print, ["never"])
cancelled.start()
cancelled.cancel()
cancelled.join()
with native.ThreadPoolExecutor(2) as pool:
    ticks.clear()
    future = pool.submit(lambda: (until_it_ticks(4), native.get_ident())[1])
    print(ticks_during(future.result) > 3, future.result() != native.get_ident())
""",
        order,
    )
    assert out == ("True False True\nTrue agent None\nTrue\nFalse\nTrue\nTrue True\nTrue True\n")


@ORDERS
def test_the_patched_library_blocks_natively_in_a_native_thread(order: str) -> None:
    """No hub is made there, and each call ends as it should."""
    out = script(
        """
import os, select, selectors, signal, socket, subprocess
patch_last()
from graftlet.core._current import hub_or_none
def everything():
    left, right = socket.socketpair()
    threading.Timer(0.01, right.sendall, [b"data"]).start()
    assert left.recv(10) == b"data"
    assert select.select([left], [], [], 0.01) == ([], [], [])
    with selectors.DefaultSelector() as selector:
        selector.register(left, selectors.EVENT_READ)
        assert selector.select(0.01) == []
    left.settimeout(0.01)
    try:
        left.recv(1)
    except TimeoutError:
        pass
    left.close(), right.close()
    read, write = os.pipe()
    threading.Timer(0.01, os.write, [write, b"x"]).start()
    assert os.read(read, 1) == b"x"
    os.close(read), os.close(write)
    assert socket.getaddrinfo("localhost", 80)
    assert subprocess.run([sys.executable, "-c", "print(1)"], stdout=-1).stdout == b"1\\n"
    lock = threading.Lock()
    lock.acquire()
    threading.Timer(0.01, lock.release).start()
    lock.acquire()
    items = queue.Queue(1)
    items.put(1)
    threading.Timer(0.01, items.get).start()
    items.put(2)
    assert items.get() == 2
    simple = queue.SimpleQueue()
    threading.Timer(0.01, simple.put, [3]).start()
    assert simple.get() == 3
    condition = threading.Condition()
    with condition:
        assert not condition.wait(0.01)
    local = threading.local()
    local.value = 1
    assert graftlet.offload(native.get_ident) == native.get_ident()
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(abs, [-1, -2])) == [1, 2]
    until_it_ticks(21)
    seen.append(hub_or_none())
seen = []
thread = native.Thread(target=everything)
thread.start()
print(ticks_during(thread.join) > 20, seen)
""",
        order,
    )
    assert out == "True [None]\n"


@ORDERS
def test_a_thread_that_a_native_thread_starts_is_native(order: str) -> None:
    """It outlives its starter. As a greenlet of the starter's hub it would have been lost with it."""
    out = script(
        """
import _thread
patch_last()
ended = threading.Event()
seen = []
def child():
    time.sleep(0.02)
    seen.append(threading.get_ident() == native.get_ident())
    ended.set()
def parent():
    threading.Thread(target=child).start()
starter = native.Thread(target=parent)
starter.start()
starter.join()
assert ended.wait(60)
ended.clear()
native.start_new_thread(_thread.start_new_thread, (child, ()))
assert ended.wait(60)
print(seen)
thread = threading.Thread(target=child)
thread.start()
thread.join()
print(seen[2], native.start_new_thread(int, (), {}) != native.get_ident())
""",
        order,
    )
    assert out == "[True, True]\nFalse True\n"


def test_the_interpreter_waits_for_native_threads_and_greenlets_go_on_meanwhile() -> None:
    out = script(
        """
def child(name):
    answers.get()
    time.sleep(0.02)
    print(name)
answers = queue.Queue()
native.Thread(target=child, args=("native",)).start()
def helper():
    time.sleep(0.02)
    answers.put(1)
threading.Thread(target=helper, daemon=True).start()
native.Thread(target=native.sleep, args=(100,), daemon=True).start()
""",
        "first",
    )
    assert out == "native\n"


def test_a_thread_that_was_started_before_patching_is_joined_at_its_end() -> None:
    """In Python 3.12 and older it is C that releases the lock that `Thread.join` waits for."""
    out = script(
        """
gate = native.Event()
thread = threading.Thread(target=gate.wait)
thread.start()
patch_last()
threading.Thread(target=lambda: (until_it_ticks(4), gate.set())).start()
print(ticks_during(lambda: thread.join(60)) > 3, thread.is_alive())
gate.clear()
late = native.Thread(target=gate.wait)
late.start()
joining = [graftlet.spawn(late.join, 0.01) for _ in range(40)]
graftlet.joinall(joining)
print(late.is_alive())
joining = [graftlet.spawn(late.join) for _ in range(40)]
graftlet.sleep(0.01)
joining[0].kill(block=True)
gate.set()
graftlet.joinall(joining, raise_error=True)
print(late.is_alive())
graftlet.unpatch_all()
late.join()
print(late.is_alive())
""",
        "last",
    )
    assert out == "True False\nTrue\nFalse\nFalse\n"


def test_a_starting_native_thread_is_no_deadlock() -> None:
    """Before its first frame the interpreter does not show it; somebody may wait for it already."""
    out = script(
        """
for _ in range(200):
    done = threading.Event()
    native.start_new_thread(done.set, ())
    done.wait()
    thread = native.Thread(target=int)
    thread.start()
    thread.join()
done = threading.Event()
def fail():
    raise SystemExit
native.start_new_thread(fail, ())
time.sleep(0.01)
try:
    done.wait()
except graftlet.Deadlock as error:
    print(type(error).__name__)
""",
        "first",
    )
    assert out == "Deadlock\n"


@ORDERS
def test_a_native_socket(order: str) -> None:
    """What it accepts, dups and makes files of is native as well; others of the program are not."""
    out = script(
        """
import socket, ssl
server = native.socket()
server.bind(("127.0.0.1", 0))
server.listen()
patch_last()
client = native.socket()
client.connect(server.getsockname())
accepted, _ = server.accept()
again = accepted.dup()
print(type(accepted) is type(again) is native.socket, isinstance(client, socket.socket))
again.sendall(b"line\\n")
with client.makefile("rb") as file:
    assert blocks_natively(lambda: print(file.readline()))
with open(__file__, "rb") as file:
    accepted.settimeout(5)
    sent = accepted.sendfile(file)
    got = b""
    while len(got) < sent:
        got += client.recv(100000)
    file.seek(0)
    print(got == file.read())
try:
    client.settimeout(0.01)
    client.recv(1)
except TimeoutError as error:
    print(repr(error))
detached = again.detach()
native.close(detached)
for each in (client, accepted, server):
    each.close()
plain, other = socket.socketpair()
threading.Thread(target=lambda: (until_it_ticks(2), other.send(b"x"))).start()
print(ticks_during(lambda: plain.recv(1)) > 1, type(plain) is socket.socket)
plain.close(), other.close()
""",
        order,
    )
    assert out == "True True\nb'line\\n'\nTrue\nTimeoutError('timed out')\nTrue True\n"


def test_a_subclass_of_native_local_is_left_alone() -> None:
    out = script(
        """
class Mine(native.local):
    def __init__(self, value):
        self.value = value
mine = Mine(3)
mine.value = 4
patch_last()
seen = []
graftlet.spawn(lambda: seen.append(mine.value)).join()
thread = native.Thread(target=lambda: seen.append(mine.value))
thread.start()
thread.join()
print(seen, Mine.__mro__[1] is native.local, native.local.__bases__ == (_original.ThreadLocal,))
""",
        "last",
    )
    assert out == "[4, 3] True True\n"


def test_fork_in_a_program_with_native_threads() -> None:
    out = script(
        """
import os
gate = threading.Event()
thread = native.Thread(target=gate.wait)
thread.start()
pid = os.fork() if sys.version_info < (3, 12) else None
if pid is None:
    import warnings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
if pid == 0:
    inner = native.Thread(target=print, args=("in the child",))
    inner.start()
    inner.join(60)
    print(thread.is_alive(), inner.is_alive(), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
gate.set()
thread.join()
print("parent")
""",
        "first",
    )
    assert out == "in the child\nFalse False\nparent\n"


@ORDERS
def test_a_timeout_around_join_does_not_end_the_thread(order: str) -> None:
    """In Python 3.12 and older `Thread.join` releases the lock of a running thread when it is interrupted."""
    out = script(
        """
gate = threading.Event()
threads = [native.Thread(target=gate.wait), threading.Thread(target=gate.wait)]
if sys.argv[1] == "last":
    for thread in threads:
        thread.start()
patch_last()
if sys.argv[1] == "first":
    for thread in threads:
        thread.start()
for thread in threads:
    with graftlet.Timeout(0.01, False):
        thread.join()
    print(thread.is_alive(), thread in threading.enumerate())
gate.set()
for thread in threads:
    thread.join()
    print(thread.is_alive(), thread in threading.enumerate())
""",
        order,
    )
    assert out == "True True\nTrue True\nFalse False\nFalse False\n"


@ORDERS
def test_local_values_end_with_their_native_thread(order: str) -> None:
    out = script(
        """
class Value:
    def __del__(self):
        ended.append(threading.get_ident())
ended = []
values = threading.local()
values.mine = Value()
patch_last()
def work():
    values.its = Value()
for _ in range(3):
    thread = native.Thread(target=work)
    thread.start()
    thread.join()
    while not ended:
        native.sleep(0.01)  # joined at its end; its data goes a little later in old Pythons
    print(ended == [thread.ident], hasattr(values, "its"), hasattr(values, "mine"))
    ended.clear()
""",
        order,
    )
    assert out == "True False True\n" * 3

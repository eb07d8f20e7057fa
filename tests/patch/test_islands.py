"""Packages that stay native: `graftlet.patch_all` with ``native=``, on a made-up package.

Everything is run with the package imported before patching and after it.
"""

from __future__ import annotations

from typing import Any

import pytest

import graftlet
from tests.isolated import Outcome, run

ORDERS = pytest.mark.parametrize("order", ["before", "after", "patched before"])

#: The package ``island``, with a module that imports in every way.
PRELUDE = '''
import os, sys
from pathlib import Path
Path("island").mkdir()
Path("island/__init__.py").write_text("from island import work\\nfrom .sub import deep\\n")
Path("island/sub").mkdir()
Path("island/sub/__init__.py").write_text("")
Path("island/sub/deep.py").write_text("""
def ident():
    import threading
    from time import sleep
    sleep(0)
    return threading.get_ident(), sleep
""")
Path("island/work.py").write_text("""
import concurrent.futures
import os.path
import queue
import socket
import threading
import time
import time as clock
from concurrent.futures import ThreadPoolExecutor
from queue import Queue, SimpleQueue
from threading import Condition, Event, Lock, RLock, Thread, local
from time import sleep

LOCK = threading.Lock()
RLOCK = RLock()
CONDITION = threading.Condition()
ITEMS = queue.Queue()
HELD = {"lock": [Lock()]}

class Worker(threading.Thread):
    def __init__(self, call):
        super().__init__()
        self.call = call
        self.lock = threading.Lock()
    def run(self):
        self.result = self.call()

class Here:
    nap = staticmethod(time.sleep)
    def __init__(self):
        self.lock = Lock()
        self.event = Event()

HERE = Here()

def default(nap=sleep):
    return nap

def start(call):
    results = []
    def run():
        results.append(call())
    thread = Thread(target=run)
    thread.start()
    return thread, results

def timer(call):
    timer = threading.Timer(0.001, lambda: call())
    timer.start()
    return timer
""")
sys.path.insert(0, os.getcwd())
import graftlet
order = sys.argv[1]
if order == "before":
    import island
if order == "patched before":
    import island
    graftlet.patch_all()
if order != "not":
    report = graftlet.patch_all(native={"island"})
    assert report.native == ["island"]
import queue, socket, threading, time
import island
from island import work
from graftlet import native
from graftlet.core import _original
def blocks_natively(call):
    ran = []
    greenlet = graftlet.spawn(ran.append, 1)
    call()
    natively = not ran
    greenlet.join()
    return natively
'''


def outcome(body: str, order: str) -> Outcome:
    return run(PRELUDE + body, order, environment={"PYTHONDONTWRITEBYTECODE": "1"})


def output(body: str, order: str) -> str:
    found = outcome(body, order)
    assert (found.status, found.err) == (0, ""), found
    return found.out


@ORDERS
def test_its_threads_are_native_and_those_of_others_greenlets(order: str) -> None:
    out = output(
        """
me = native.get_ident()
thread, results = work.start(native.get_ident)
thread.join()
worker = work.Worker(native.get_ident)
worker.start()
worker.join()
timer_results = []
timer = work.timer(lambda: timer_results.append(native.get_ident()))
timer.join()
with work.ThreadPoolExecutor(1) as pool, work.concurrent.futures.ThreadPoolExecutor(1) as same:
    pooled = pool.submit(native.get_ident).result(), same.submit(native.get_ident).result()
print(results[0] != me, worker.result != me, timer_results[0] != me, me not in pooled)
print(isinstance(thread, threading.Thread), isinstance(worker, threading.Thread))
seen = []
plain = threading.Thread(target=lambda: seen.append(native.get_ident()))
plain.start()
plain.join()
print(seen[0] == me, thread.ident == results[0] == work.threading.get_ident() or thread.ident == results[0])
""",
        order,
    )
    assert out == "True True True True\nTrue True\nTrue True\n"


@ORDERS
def test_its_locks_are_cs_and_its_waits_native(order: str) -> None:
    out = output(
        """
C = (_original.LockType, _original.RLock)
if order != "patched before":  # those are the program's since then
    held = [work.LOCK, work.HELD["lock"][0], work.HERE.lock, work.HERE.event._cond._lock,
            work.CONDITION._lock, work.ITEMS.mutex, work.RLOCK]
    print(all(isinstance(each, C) for each in held))
made = [work.Lock(), work.RLock(), work.threading.Lock(), work.threading.RLock(),
        work.Here().lock, work.Worker(None).lock, work.Condition()._lock, work.Queue().mutex]
for each in made:
    assert isinstance(each, C), made
event, items = work.threading.Event(), work.queue.Queue()
waits = [
    lambda: work.time.sleep(0.01), lambda: work.sleep(0.01), lambda: work.clock.sleep(0.01),
    lambda: work.default()(0.01), lambda: work.Here.nap(0.01), lambda: work.threading.Event().wait(0.01),
    lambda: work.Event().wait(0.01),
]
if order == "patched before":
    del waits[3:5]  # a default argument and a class's attribute: rebound already
print([blocks_natively(call) for call in waits] == [True] * len(waits))
print(blocks_natively(lambda: time.sleep(0.01)), blocks_natively(lambda: threading.Event().wait(0.01)))
ident, sleep = island.deep.ident()
print(sleep is _original.sleep, ident == native.get_ident())
print(isinstance(work.local(), _original.ThreadLocal), isinstance(threading.local(), _original.ThreadLocal))
left, right = socket.socketpair()
sock = work.socket.socket()
print(type(sock) is native.socket, isinstance(sock, socket.socket), type(left) is socket.socket)
for each in (left, right, sock):
    each.close()
""",
        order,
    )
    first = "" if order == "patched before" else "True\n"
    assert out == first + "True\nFalse False\nTrue True\nTrue False\nTrue True True\n"


@ORDERS
def test_both_worlds_work_together(order: str) -> None:
    out = output(
        """
shared = queue.Queue()
answers = queue.Queue()
def serve():
    while (item := shared.get()) is not None:
        work.time.sleep(0.001)
        answers.put(item * 2)
thread, _ = work.start(serve)
ticks = []
def tick():
    while True:
        ticks.append(1)
        time.sleep(0.001)
ticker = graftlet.spawn(tick)
for number in range(20):
    shared.put(number)
print([answers.get() for _ in range(20)] == [2 * n for n in range(20)], len(ticks) > 5)
shared.put(None)
thread.join()
ticker.kill(block=True)
""",
        order,
    )
    assert out == "True True\n"


@ORDERS
def test_a_twin_is_the_module_in_everything_else(order: str) -> None:
    out = output(
        """
t = work.threading
print(t.current_thread() is threading.main_thread(), t.enumerate is threading.enumerate, t.__name__)
print(sorted(set(dir(threading)) - set(dir(t))), t.__file__ == threading.__file__)
work.threading.some_hook = 1
print(threading.some_hook)
del work.threading.some_hook
print(hasattr(threading, "some_hook"), work.os.path is os.path, work.queue.Empty is queue.Empty)
space = {"__name__": "island.starred"}
exec("from time import *", space)
print(space["sleep"] is _original.sleep, space["monotonic"] is time.monotonic)
try:
    exec("import threading.nothing", {"__name__": "island.x"})
except ImportError as error:
    print(type(error).__name__)
try:
    exec("from threading import nothing", {"__name__": "island.x"})
except ImportError as error:
    print(type(error).__name__)
exec("import threading", other := {"__name__": "islands"})
print(other["threading"] is threading, sys.modules["threading"] is threading)
""",
        order,
    )
    assert out == (
        "True True threading\n[] True\n1\nFalse True True\nTrue True\n"
        "ModuleNotFoundError\nImportError\nTrue True\n"
    )


@ORDERS
def test_unpatching_gives_everything_back(order: str) -> None:
    out = output(
        """
import builtins
graftlet.unpatch_all()
print(type(builtins.__import__).__name__)
print(work.sleep is time.sleep is _original.sleep, time.sleep.__module__)
if order != "after":
    print(work.threading is threading, work.Thread is threading.Thread, work.Lock is threading.Lock)
else:  # what it has imported stays what it is
    print(work.threading.Thread is native.Thread, work.Thread is native.Thread, True)
thread, results = work.start(native.get_ident)
thread.join()
print(results[0] == thread.ident)
report = graftlet.patch_all()
print(report.native, work.threading.active_count())
""",
        order,
    )
    assert out == "builtin_function_or_method\nTrue time\nTrue True True\nTrue\n[] 1\n"


def test_a_module_that_imports_past_the_import_statement() -> None:
    """As extension modules do: ``PyImport_ImportModule``."""
    out = output(
        """
Path("island/extension.py").write_text('''
import importlib
threading = importlib.import_module("threading")
time = importlib.import_module("time")
sleep = time.sleep
Thread = threading.Thread
''')
import island.extension as extension
print(extension.threading is not threading, extension.sleep is _original.sleep, extension.Thread)
print(extension.time.sleep is _original.sleep)
""",
        "after",
    )
    assert out == "True True <class 'graftlet.native.Thread'>\nTrue\n"


def test_warnings_at_import_are_those_of_the_importer() -> None:
    out = output(
        """
import warnings
Path("deprecated.py").write_text("import warnings; warnings.warn('old', DeprecationWarning, stacklevel=2)")
Path("user.py").write_text("\\nimport deprecated")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import user
print([(Path(each.filename).name, each.lineno) for each in caught])
""",
        "after",
    )
    assert out == "[('user.py', 2)]\n"


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ("grpc", TypeError, "native is a collection of package names, not 'grpc'"),
        (7, TypeError, "native is a collection of package names, not 7"),
        ([7], TypeError, "native has 7, which is no package's name"),
        ([""], ValueError, "native has '', which can't be a package's name"),
        (["my-package"], ValueError, "the import statement, not that on PyPI"),
        (["threading"], ValueError, "part of what is patched"),
        (["concurrent.futures"], ValueError, "part of what is patched"),
        (["graftlet.patch"], ValueError, "part of what is patched"),
    ],
)
def test_bad_input(names: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        graftlet.patch_all(native=names)
    assert not graftlet.is_patched("time")


def test_patched_for_a_while() -> None:
    out = output(
        """
graftlet.unpatch_all()
with graftlet.patched(native=["island.sub"]) as report:
    print(report.native, str(report).splitlines()[1])
    print(island.deep.ident()[1] is _original.sleep, blocks_natively(lambda: time.sleep(0.001)))
    exec("import time", {"__name__": "island.subway"}, space := {})
    print(space["time"] is time)
with graftlet.patched():
    print(island.deep.ident()[1] is time.sleep)
print(time.sleep is _original.sleep)
""",
        "before",
    )
    assert out == ("['island.sub']   left native: island.sub\nTrue False\nTrue\nTrue\nTrue\n")

"""What becomes of threads when the program ends, and of the program when threads do."""

from __future__ import annotations

import sys

import pytest

from tests.isolated import run_ok
from tests.patch.harness.scripts import Scripts, check

IMPORTS = """
import atexit, os, queue, signal, socket, sys, threading, time, _thread, weakref
from concurrent.futures import ThreadPoolExecutor
PATCH_HERE
begun = threading.Event()
def state_of_main():
    with open(f"/proc/self/task/{os.getpid()}/status") as file:
        return [line for line in file if line.startswith(("State:\tS", "voluntary"))]
def until_main_waits():
    begun.wait()
    before = None
    # A native thread that has not run between two looks, and does not want to. If main is none, it waits.
    while not os.readlink("/proc/thread-self").endswith(f"/task/{os.getpid()}"):
        now = state_of_main()
        if len(now) == 2 and now == before:
            break
        before = now
        time.sleep(0.001)
"""

SCRIPTS = {
    "threads are joined": """
        go_on = threading.Event()
        def work():
            go_on.wait()
            time.sleep(0.05)
            print("thread ends", threading.current_thread().name)
        threading.Thread(target=work, name="T").start()
        atexit.register(print, "at exit")
        print("main ends")
        go_on.set()
        """,
    "daemons are not": """
        def work():
            try:
                time.sleep(60)
            finally:
                print("never")
        threading.Thread(target=work, daemon=True).start()
        time.sleep(0.01)
        print("main ends")
        """,
    "daemons that wait for all kinds of things": """
        a, b = socket.socketpair()
        lock = threading.Lock(); lock.acquire()
        waits = [lambda: a.recv(1), lock.acquire, threading.Event().wait, queue.Queue().get,
                 queue.SimpleQueue().get, lambda: time.sleep(60), threading.Condition().__enter__]
        threads = [threading.Thread(target=wait, daemon=True) for wait in waits]
        for thread in threads:
            thread.start()
        time.sleep(0.01)
        b.close()
        threads[0].join()
        threads[-1].join()
        print("main ends", threading.active_count())
        """,
    "threads that start threads at the end": """
        def work(depth):
            time.sleep(0.01)
            print("depth", depth)
            if depth:
                threading.Thread(target=work, args=(depth - 1,)).start()
        threading.Thread(target=work, args=(3,)).start()
        """,
    "threads that start threads at the end of a forked process": """
        import multiprocessing
        def work(depth):
            time.sleep(0.01)
            print("depth", depth, flush=True)
            if depth:
                threading.Thread(target=work, args=(depth - 1,)).start()
        def child():
            threading.Thread(target=work, args=(3,)).start()
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join()
        print("status", process.exitcode)
        """,
    "a daemon goes on while others are joined": """
        def tick():
            while True:
                ticks.append(1)
                time.sleep(0.001)
        ticks = []
        def work():
            before = len(ticks)
            while len(ticks) < before + 3:
                time.sleep(0.001)
            print("ticked on")
        threading.Thread(target=tick, daemon=True).start()
        threading.Thread(target=work).start()
        """,
    "main fails, threads go on": """
        def work():
            time.sleep(0.03)
            print("thread ends")
        threading.Thread(target=work).start()
        1 / 0
        """,
    "main exits, threads go on": """
        def work():
            time.sleep(0.03)
            print("thread ends", flush=True)
        threading.Thread(target=work).start()
        sys.exit(5)
        """,
    "a thread fails": """
        def work():
            raise ValueError("in the thread")
        thread = threading.Thread(target=work, name="T")
        thread.start()
        thread.join()
        print("main ends")
        """,
    "a thread fails after main has ended": """
        def work():
            time.sleep(0.02)
            raise ValueError("in the thread")
        threading.Thread(target=work, name="T").start()
        """,
    "a thread calls sys.exit": """
        def work():
            sys.exit(3)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        print("main ends")
        """,
    "a thread calls os._exit": """
        def work():
            time.sleep(0.01)
            print("leaving", flush=True)
            os._exit(9)
        threading.Thread(target=work).start()
        time.sleep(20)
        """,
    "a bare thread fails": """
        def work():
            raise ValueError("in the thread")
        def hook(args, real=sys.unraisablehook):
            real(args)
            done.set()
        done = threading.Event()
        sys.unraisablehook = hook
        _thread.start_new_thread(work, ())
        done.wait()
        print("main ends")
        """,
    "bare threads are not joined": """
        def work():
            time.sleep(20)
            print("never")
        _thread.start_new_thread(work, ())
        time.sleep(0.01)
        print("main ends")
        """,
    "at exit": """
        def last():
            print("last", threading.active_count())
            if sys.version_info < (3, 12):  # since then no thread can be started any more
                thread = threading.Thread(target=print, args=("from a thread",))
                thread.start()
                thread.join()
            time.sleep(0.01)
        atexit.register(last)
        with ThreadPoolExecutor(2) as pool:
            print(pool.submit(lambda: 7).result())
        idle = ThreadPoolExecutor(1)
        idle.submit(time.sleep, 0.03).add_done_callback(lambda future: print("done"))
        """,
    "no new threads at the end": """
        class Late:
            def __del__(self):
                try:
                    threading.Thread(target=print, args=("never",), daemon=True).start()
                except RuntimeError as error:
                    os.write(1, b"RuntimeError\\n")
        def late():
            try:
                threading.Thread(target=print, args=("late",)).start()
            except RuntimeError as error:
                print(error)
        if sys.version_info >= (3, 12):
            atexit.register(late)
        """,
    "Ctrl-C while main waits": """
        def work():
            until_main_waits()
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=work).start()
        try:
            begun.set()
            time.sleep(20)
        except KeyboardInterrupt:
            print("interrupted")
        """,
    "Ctrl-C ends the program": """
        def work():
            until_main_waits()
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.02)
            print("thread ends", flush=True)
        threading.Thread(target=work).start()
        lock = threading.Lock()
        lock.acquire()
        def wait():
            begun.set()
            lock.acquire()
        wait()
        """,
    "killed by a signal": """
        def work():
            time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGTERM)
        threading.Thread(target=work).start()
        threading.Event().wait()
        """,
    "a handler exits": """
        signal.signal(signal.SIGTERM, lambda *args: sys.exit(4))
        def work():
            until_main_waits()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.02)
            print("thread ends", flush=True)
        threading.Thread(target=work).start()
        atexit.register(print, "at exit")
        threading.Lock().acquire()
        lock = threading.Lock()
        lock.acquire()
        begun.set()
        lock.acquire()
        """,
    "the excepthooks": """
        threading.excepthook = lambda args: print("hook", args.exc_type.__name__, args.thread.name)
        sys.excepthook = lambda kind, value, trace: print("main's hook", kind.__name__)
        def work():
            raise ValueError
        thread = threading.Thread(target=work, name="T")
        thread.start()
        thread.join()
        raise KeyError
        """,
    "finalizers at the end": """
        class Thing:
            def __del__(self):
                os.write(1, b"finalized\\n")
        thing = Thing()
        local = threading.local()
        local.thing = Thing()
        weakref.finalize(thing, os.write, 1, b"finalize\\n")
        """,
    "main joins itself out": """
        def work():
            threading.main_thread().join()
            print("main has ended", threading.main_thread().is_alive())
        threading.Thread(target=work).start()
        print("main ends")
        """,
}


INDENT = " " * 8
WHOLE = {
    name: IMPORTS + "\n".join(line.removeprefix(INDENT) for line in script.splitlines())
    for name, script in SCRIPTS.items()
}
FORKED = Scripts(WHOLE)


@pytest.mark.parametrize("name", WHOLE)
def test_same_as_with_threads(name: str) -> None:
    FORKED.check(name)


@pytest.mark.parametrize(
    "name",
    ["threads are joined", "main fails, threads go on", "Ctrl-C ends the program", "at exit"],
)
def test_same_in_an_interpreter_of_its_own(name: str) -> None:
    check(WHOLE[name])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the warning came with Python 3.12")
def test_fork_warns_of_native_threads_only() -> None:
    said = check("""
        import os, threading, time, warnings
        PATCH_HERE
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if os.fork() == 0:
                os._exit(0)
            os.wait()
        print(len(caught))
        """)
    assert said == "status 0\n0\n----\n"


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="threads have handles since 3.13")
def test_the_locks_of_threads_that_have_ended_are_not_kept() -> None:
    out = run_ok(
        """
        import threading, time
        import graftlet
        from graftlet import native
        graftlet.patch_all()
        go_on = threading.Event()
        def in_native(): threading.Thread(target=int).start()
        before = len(threading._shutdown_locks)
        for _ in range(3):
            threads = [threading.Thread(target=go_on.wait) for _ in range(500)]
            for thread in threads:
                thread.start()
            print(len(threading._shutdown_locks) - before)
            go_on.set()
            for thread in threads:
                thread.join()
            print(len(threading._shutdown_locks) - before)
            go_on.clear()
        # Those of native threads are released by C.
        for _ in range(100):
            thread = native.Thread(target=in_native)
            thread.start()
            thread.join()
        threading.Thread(target=int).start()
        print(len(threading._shutdown_locks) - before < 70)
        """
    )
    assert out.split() == ["500", "0"] * 3 + ["True"]

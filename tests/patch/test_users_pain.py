"""What users of gevent have reported again and again, each as a program that behaves here.

Rule: a program knows nothing of greenlets; the line ``PATCH_HERE`` is all that is not plain Python. Each test says
what gevent 26.9 does with the very same program (there the line is ``monkey.patch_all()``), on CPython 3.13.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Final

from tests.isolated import Outcome, run

PEM: Final = Path(__file__).with_name("localhost.pem")


def outcome_of(program: str, *arguments: str) -> Outcome:
    patch = "import graftlet; graftlet.patch_all()"
    return run(textwrap.dedent(program).replace("PATCH_HERE", patch), *arguments)


def output_of(program: str, *arguments: str) -> str:
    outcome = outcome_of(program, *arguments)
    assert (outcome.status, outcome.err) == (0, ""), outcome
    return outcome.out


# -- 1. Patch order


def test_names_imported_before_patching() -> None:
    """gevent: the sleeps follow one another, without a word: ``1 at once``, twice."""
    out = output_of(
        """
        import threading
        import time
        from time import sleep
        def work(nap=sleep):
            for pause in (nap, lambda seconds: sleep(seconds)):
                inside.append(pause)
                most.append(len(inside))
                pause(0.1)
                inside.remove(pause)
        PATCH_HERE
        inside, most = [], []
        threads = [threading.Thread(target=work) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(max(most) > 1, len(most))
        """
    )
    assert out == "True 10\n"


def test_tls_imported_and_contexts_made_before_patching() -> None:
    """gevent: errors in both handshakes (``super(type, obj)`` with the class that was there before), and a hang."""
    out = output_of(
        """
        import http.client, http.server, ssl, sys, threading, time
        class Slow(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                answering.append(self)
                most.append(len(answering))
                time.sleep(0.2)
                answering.remove(self)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")
            def log_message(self, *args):
                pass
        answering, most = [], []
        before = ssl.create_default_context(cafile=sys.argv[1])
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        theirs.load_cert_chain(sys.argv[1])
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
        server.socket = theirs.wrap_socket(server.socket, server_side=True)
        PATCH_HERE
        after = ssl.create_default_context(cafile=sys.argv[1])
        after.minimum_version = ssl.TLSVersion.TLSv1_2
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        answers = []
        def get(context):
            connection = http.client.HTTPSConnection(
                "localhost", server.server_port, context=context, timeout=100
            )
            connection.request("GET", "/")
            answers.append(connection.getresponse().read())
            connection.close()
        clients = [threading.Thread(target=get, args=(c,)) for c in (before, after) * 8]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        print(answers == [b"ok"] * 16, max(most) > 1)
        server.shutdown()
        server.server_close()
        """,
        str(PEM),
    )
    assert out == "True True\n"


# -- 2. Locks made before patching


def test_an_rlock_made_before_patching_excludes() -> None:
    """gevent: the other thread gets it at once, for to C it is the same thread: ``2 at once``."""
    out = output_of(
        """
        import threading, time
        lock = threading.RLock()
        PATCH_HERE
        inside = most = 0
        def work():
            global inside, most
            for _ in range(5):
                with lock:
                    inside += 1
                    most = max(most, inside)
                    time.sleep(0.002)
                    inside -= 1
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(most, "at once")
        """
    )
    assert out == "1 at once\n"


def test_a_lock_made_before_patching_keeps_only_its_waiters_waiting() -> None:
    """gevent: the whole process stands still until the time-out, and the lock is not got: ``False``."""
    out = output_of(
        """
        import threading, time
        lock = threading.Lock()
        lock.acquire()
        PATCH_HERE
        got = []
        waiter = threading.Thread(target=lambda: got.append(lock.acquire(timeout=5)))
        waiter.start()
        threading.Timer(0.05, lock.release).start()
        waiter.join()
        print(got)
        """
    )
    assert out == "[True]\n"


def test_a_pool_made_before_patching_takes_work() -> None:
    """gevent: a ``KeyError`` in ``Thread._delete`` of the pool's thread, which is a native one."""
    out = output_of(
        """
        import concurrent.futures, logging, queue, threading, time
        pool = concurrent.futures.ThreadPoolExecutor(2)
        print(pool.submit(abs, -1).result())
        items = queue.Queue()
        event = threading.Event()
        PATCH_HERE
        def consume():
            item = items.get()
            event.wait()
            return item
        thread = threading.Thread(target=lambda: results.append(consume()))
        results = []
        thread.start()
        time.sleep(0.01)
        items.put("item")
        event.set()
        thread.join(5)
        print(results, pool.submit(abs, -2).result(5))
        pool.shutdown()
        """
    )
    assert out == "1\n['item'] 2\n"


# -- 3. Wake-ups from native threads


def test_a_lock_that_a_native_thread_releases() -> None:
    """gevent: wakes no waiter of Event and Condition, ``True False False``; or hangs in ``RecursionError``."""
    out = output_of(
        """
        import ctypes, threading, time
        PATCH_HERE
        # A thread that no patching knows of: C calls back from it.
        libc = ctypes.CDLL(None)
        start_routine = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
        def native(work):
            routine = start_routine(lambda _: work())
            thread = ctypes.c_ulong()
            assert libc.pthread_create(ctypes.byref(thread), None, routine, None) == 0
            kept.append(routine)
            return thread
        kept = []
        lock, event, condition = threading.Lock(), threading.Event(), threading.Condition()
        held = threading.Event()
        gate = threading.Event()
        def work():
            with lock:
                held.set()
                gate.wait(0.05)
            event.set()
            with condition:
                condition.notify()
        with condition:
            thread = native(work)
            held.wait()
            print(lock.acquire(timeout=5))
            print(event.wait(5))
            print(condition.wait(5))
        libc.pthread_join(thread, None)
        """
    )
    assert out == "True\nTrue\nTrue\n"


def test_logging_from_native_threads_and_greenlets_at_once() -> None:
    """The handler's lock is what APM agents fight for. gevent: hangs (see gevent#2013)."""
    out = output_of(
        """
        import ctypes, io, logging, sys, threading, time
        stream = io.StringIO()
        logging.basicConfig(stream=stream, level=logging.INFO)
        PATCH_HERE
        sys.setswitchinterval(1e-5)
        libc = ctypes.CDLL(None)
        start_routine = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
        def log(name):
            for number in range(200):
                logging.info("%s %d", name, number)
                if number % 20 == 0:
                    time.sleep(0)
        routines = [start_routine(lambda _, n=n: log(f"native{n}")) for n in range(3)]
        natives = [ctypes.c_ulong() for _ in routines]
        for thread, routine in zip(natives, routines):
            libc.pthread_create(ctypes.byref(thread), None, routine, None)
        threads = [threading.Thread(target=log, args=(f"green{n}",)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for thread in natives:
            libc.pthread_join(thread, None)
        lines = stream.getvalue().splitlines()
        print(len(lines), len(set(lines)))
        """
    )
    assert out == "1200 1200\n"


# -- 4. Calls that were asked not to block


def test_a_call_that_is_not_to_block_lets_nobody_else_run() -> None:
    """gevent: a failing ``acquire(False)`` calls ``sleep()``, and the other thread runs: ``['other']``."""
    out = output_of(
        """
        import queue, threading, weakref
        PATCH_HERE
        ran = []
        lock, semaphore = threading.Lock(), threading.Semaphore(0)
        lock.acquire()
        items, full = queue.Queue(), queue.Queue(1)
        full.put(1)
        class Node:
            pass
        def finalizer():
            # As urllib3 does: from wherever an object happens to die.
            lock.acquire(False)
            lock.acquire(timeout=0)
            semaphore.acquire(False)
            for call in (items.get_nowait, lambda: full.put_nowait(2)):
                try:
                    call()
                except (queue.Empty, queue.Full):
                    pass
            seen.extend(ran)
        seen = []
        import _thread
        _thread.start_new_thread(lambda: ran.append("other"), ())
        node = Node()
        weakref.finalize(node, finalizer)
        del node
        print(seen)
        """
    )
    assert out == "[]\n"


# -- 5. asyncio


def test_event_loops_in_several_threads_at_once() -> None:
    """gevent: ``RuntimeError: asyncio.run() cannot be called from a running event loop``."""
    out = output_of(
        """
        import asyncio, threading, time
        PATCH_HERE
        results = []
        async def main(number):
            await asyncio.sleep(0.05)
            value = await asyncio.to_thread(lambda: (time.sleep(0.01), number)[1])
            results.append(value)
        threads = [threading.Thread(target=lambda n=n: asyncio.run(main(n))) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(sorted(results))
        """
    )
    assert out == "[0, 1, 2, 3, 4]\n"


def test_a_running_loop_does_not_leak_into_synchronous_code() -> None:
    """gevent: another thread finds the loop, and Django raises ``SynchronousOnlyOperation``."""
    out = output_of(
        """
        import asyncio, threading, time
        PATCH_HERE
        seen = []
        def synchronous():
            for _ in range(3):
                seen.append(asyncio._get_running_loop())
                time.sleep(0.01)
        async def main():
            thread = threading.Thread(target=synchronous)
            thread.start()
            time.sleep(0.05)  # a synchronous library, called from a coroutine
            thread.join()
            return asyncio.get_running_loop() is not None
        print(asyncio.run(main()), seen)
        """
    )
    assert out == "True [None, None, None]\n"


# -- 8. Deadlocks


def test_a_deadlock_names_who_holds_what_and_the_process_ends() -> None:
    """gevent: ``LoopExit: This operation would block forever``, not a word of locks or threads; then it hangs."""
    outcome = outcome_of(
        """
        import threading, time
        PATCH_HERE
        first, second, both = threading.Lock(), threading.Lock(), threading.Barrier(2)
        def transfer(one, other):
            with one:
                both.wait()
                with other:
                    print("never")
        there = threading.Thread(target=transfer, args=(first, second), name="there")
        back = threading.Thread(target=transfer, args=(second, first), name="back")
        there.start()
        back.start()
        there.join()
        """
    )
    assert outcome.status != 0
    assert outcome.out == ""
    report = outcome.err
    assert "Deadlock" in report
    for name, other in (("there", "back"), ("back", "there")):
        line = next(line for line in report.splitlines() if f"thread {name}> waits for" in line)
        assert "lock" in line
        assert "held by" in line
        assert f"thread {other}>" in line.partition("held by")[2]
        assert "script.py:8 in transfer" in line


# -- 13. fork


def test_a_child_has_only_the_thread_that_forked() -> None:
    """gevent: the background loop runs on in the child: ``16 2`` instead of ``0 1``."""
    out = output_of(
        """
        import os, threading, time, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        PATCH_HERE
        ticks = []
        def background():
            while True:
                ticks.append(os.getpid())
                time.sleep(0.005)
        threading.Thread(target=background, daemon=True).start()
        time.sleep(0.02)
        child = os.fork()
        if child == 0:
            before = len(ticks)
            time.sleep(0.1)
            print("in the child:", len(ticks) - before, threading.active_count(), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        before = len(ticks)
        time.sleep(0.1)
        print("in the parent:", len(ticks) > before, threading.active_count())
        """
    )
    assert out == "in the child: 0 1\nin the parent: True 2\n"


# -- 14. multiprocessing


def test_multiprocessing_keeps_nobody_else_waiting() -> None:
    """gevent: ``Queue.get`` stops all threads of the parent, its own feeder too: ``Empty`` after 10 s."""
    out = output_of(
        """
        import concurrent.futures, multiprocessing, threading, time, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        PATCH_HERE
        def answer(questions, answers):
            while (item := questions.get()) is not None:
                answers.put(item * 2)
        context = multiprocessing.get_context("fork")
        questions, answers = context.Queue(), context.Queue()
        process = context.Process(target=answer, args=(questions, answers))
        process.start()
        ticks = []
        stop = threading.Event()
        def tick():
            while not stop.is_set():
                ticks.append(1)
                if len(ticks) == 6:
                    questions.put(21)
                time.sleep(0.005)
        ticker = threading.Thread(target=tick)
        ticker.start()
        print(answers.get(timeout=30), len(ticks) > 5)
        questions.put(None)
        process.join()
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            print(list(pool.map(abs, [-1, -2, -3])))
        with context.Manager() as manager:
            shared = manager.dict()
            def fill(number):
                shared[number] = number
            fillers = [threading.Thread(target=fill, args=(n,)) for n in range(4)]
            for filler in fillers:
                filler.start()
            for filler in fillers:
                filler.join()
            print(sorted(shared.keys()))
        stop.set()
        ticker.join()
        """
    )
    assert out == "42 True\n[1, 2, 3]\n[0, 1, 2, 3]\n"


# -- 15. subprocess


def test_children_of_others_are_left_to_them_and_popen_is_the_standard_one() -> None:
    """gevent: ``Popen`` is another class, which forks: ``False`` in the first place."""
    out = output_of(
        """
        import os, signal, subprocess, sys, threading, time
        Popen = subprocess.Popen
        PATCH_HERE
        print(subprocess.Popen is Popen, "_use_vfork" not in dir(subprocess) or subprocess._USE_VFORK)
        print(signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL)
        seen = []
        signal.signal(signal.SIGCHLD, lambda *_: seen.append("SIGCHLD"))
        # A library that starts its children by itself, in C or by posix_spawn.
        pid = os.posix_spawn(sys.executable, [sys.executable, "-c", "raise SystemExit(3)"], os.environ)
        done = threading.Event()
        ran = []
        def others():
            while not done.is_set():
                ran.append(1)
                if len(ran) == 6:
                    os.write(sink, b"go on\\n")
                time.sleep(0.005)
        source, sink = os.pipe()
        thread = threading.Thread(target=others)
        thread.start()
        print(subprocess.run([sys.executable, "-c", "input()"], stdin=source).returncode)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "SIGCHLD" in seen, len(ran) > 5)
        done.set()
        thread.join()
        """
    )
    assert out == "True True\nTrue\n0\n3 True True\n"


# -- 16. Signals


def test_a_handler_is_something_to_wait_for() -> None:
    """gevent: ``LoopExit`` at once: a handler of ``signal.signal`` does not count (gevent#1815)."""
    out = output_of(
        """
        import os, signal, subprocess, sys, threading
        PATCH_HERE
        done = threading.Event()
        def handler(number, frame):
            names.append(threading.current_thread().name)
            done.set()
        names = []
        signal.signal(signal.SIGUSR1, handler)
        command = f"sleep 0.1; kill -USR1 {os.getpid()}"
        import ctypes  # nobody here waits for this child
        ctypes.CDLL(None).system(f"({command}) &".encode())
        done.wait()
        print(names)
        """
    )
    assert out == "['MainThread']\n"


def test_ctrl_c_interrupts_main_whoever_runs() -> None:
    """gevent: it is raised in the greenlet that happens to run, and main sleeps on: ``['hit']``."""
    out = output_of(
        """
        import os, signal, threading, time
        PATCH_HERE
        survived = []
        def worker():
            try:
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000):
                    pass
                time.sleep(0.01)
                survived.append("worker")
            except KeyboardInterrupt:
                survived.append("hit")
        thread = threading.Thread(target=worker)
        try:
            thread.start()
            time.sleep(5)
        except KeyboardInterrupt:
            print("main")
        thread.join()
        print(survived)
        """
    )
    assert out == "main\n['worker']\n"


# -- 17. epoll


def test_epoll_and_its_selector_stay_and_let_others_run() -> None:
    """gevent: ``AttributeError``: neither ``select.epoll`` nor ``selectors.EpollSelector`` is left."""
    out = output_of(
        """
        import select, selectors, socket, threading, time
        made_before = select.epoll()
        PATCH_HERE
        print(hasattr(select, "epoll"), selectors.DefaultSelector is selectors.EpollSelector)
        left, right = socket.socketpair()
        ran = []
        def answer():
            for _ in range(5):
                ran.append(1)
                time.sleep(0.005)
            right.send(b"x")
        thread = threading.Thread(target=answer)
        made_before.register(left, select.EPOLLIN)
        thread.start()
        print(made_before.poll(5) == [(left.fileno(), select.EPOLLIN)], len(ran))
        made_before.close()
        with select.epoll() as epoll, selectors.DefaultSelector() as selector:
            epoll.register(left, select.EPOLLIN)
            selector.register(left, selectors.EVENT_READ, "data")
            print(len(epoll.poll(0)), [key.data for key, _ in selector.select(0)])
        thread.join()
        left.close()
        right.close()
        """
    )
    assert out == "True True\nTrue 5\n1 ['data']\n"

"""multiprocessing by fork: processes, what they share, and threads on either side.

Started anew (spawn, forkserver), processes take too long for cases: see ``test_multiprocessing.py``.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import multiprocessing
import multiprocessing.connection
import multiprocessing.pool
import multiprocessing.shared_memory
import os
import queue
import signal
import sys
import tempfile
import threading
import time
import warnings
from multiprocessing import resource_tracker
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.patch.harness.tools import LONG, SHORT, Background, kind, outcome, settle

if TYPE_CHECKING:
    from collections.abc import Callable

fork = multiprocessing.get_context("fork")
old = SimpleNamespace()
BIG = 1 << 20


def prepare() -> None:
    warnings.simplefilter("ignore", DeprecationWarning)  # fork beside faulthandler's thread
    resource_tracker.ensure_running()  # a process with a descriptor of ours
    old.lock, old.rlock, old.semaphore = fork.Lock(), fork.RLock(), fork.Semaphore(2)
    old.held = fork.RLock()
    old.held.acquire()
    old.held.acquire()
    old.condition, old.event = fork.Condition(), fork.Event()
    old.queue, old.simple, old.value = fork.Queue(), fork.SimpleQueue(), fork.Value("i", 5)
    old.ours, old.theirs = fork.Pipe()
    old.process = started(time.sleep, SHORT)


def finish() -> None:
    old.queue.close()
    old.simple._reader.close()
    old.simple._writer.close()
    old.ours.close()
    old.theirs.close()
    old.process.join()


def started(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A process that calls ``function``, and that does not live for ever."""

    def run() -> None:
        signal.alarm(round(2 * LONG))
        function(*args)

    process = fork.Process(target=run, **kwargs)
    process.start()
    return process


def ended(process: Any) -> Any:
    """The exit code of a process that ends by itself."""
    process.join(LONG)
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
    process.close()
    return code


def in_child(function: Callable[..., Any], *args: Any) -> Any:
    """What the function returns in another process, and that one's exit code."""
    ours, theirs = fork.Pipe(duplex=False)
    with ours, theirs:
        process = started(lambda: theirs.send(outcome(function, *args)))
        got = ours.recv() if ours.poll(LONG) else "nothing came"
        return got, ended(process)


# -- Processes


def case_who_is_who() -> Any:
    def look() -> Any:
        me, parent = multiprocessing.current_process(), multiprocessing.parent_process()
        return (
            me.name,
            me.daemon,
            me.pid == os.getpid(),
            parent is not None and parent.pid == os.getppid(),
            multiprocessing.active_children(),
            [thread.name for thread in threading.enumerate()],
        )

    ours, theirs = fork.Pipe()
    with ours, theirs:
        process = started(lambda: theirs.send((theirs.recv(), look())), name="a child", daemon=True)
        alive = [each.name for each in multiprocessing.active_children()]
        ours.send("go")
        got = ours.recv()
        return "a child" in alive, got, process.name, process.daemon, ended(process)


def case_how_processes_end() -> Any:
    def fail() -> None:
        sys.stderr = io.StringIO()  # where the traceback goes
        raise LookupError("for good")

    def leave() -> None:
        sys.exit(3)

    def say() -> None:
        sys.stderr = io.StringIO()
        sys.exit("a text")

    return [
        ended(started(function))
        for function in (
            int,
            fail,
            leave,
            say,
            lambda: os._exit(5),
            lambda: os.kill(os.getpid(), 9),
        )
    ]


def case_started_and_joined_in_threads() -> Any:
    def run(number: int) -> Any:
        process = started(os._exit, number)
        process.join()
        return process

    processes = [each.result() for each in [Background(run, number) for number in range(1, 5)]]
    # Only now: a start looks through all others (``multiprocessing.process._cleanup``), and falls over one that is
    # being closed by another thread just then.
    return [ended(process) for process in processes]


def case_several_join_one() -> Any:
    process = started(time.sleep, SHORT)
    joining = [Background(process.join) for _ in range(3)]
    timed = Background(process.join, SHORT / 10)
    return [each.result() for each in [timed, *joining]], ended(process)


def case_terminate_and_kill() -> Any:
    got = []
    for end in ("terminate", "kill"):
        process = started(time.sleep, LONG)
        joining = Background(process.join)
        settle()
        alive = process.is_alive()
        getattr(process, end)()
        got.append((alive, joining.result(), ended(process)))
    return got


def case_refused() -> Any:
    process = started(time.sleep, LONG)
    early = [outcome(process.close), outcome(process.start), fork.Process().exitcode]
    process.kill()
    ended(process)
    return [*early, outcome(process.join), outcome(fork.Process().join)]


def case_a_process_waits_for_its_threads_at_its_end() -> Any:
    ours, theirs = fork.Pipe()
    event = threading.Event()

    def run() -> None:
        threading.Thread(
            target=lambda: (time.sleep(SHORT), theirs.send("the thread's end"))
        ).start()
        threading.Thread(target=event.wait, daemon=True).start()

    with ours, theirs:
        code = ended(started(run))
        return code, ours.poll(), ours.recv()


def case_grandchildren_from_threads() -> Any:
    def child() -> Any:
        return Background(in_child, lambda: in_child(os.getppid)[0] == os.getpid()).result()

    return in_child(child)


def case_made_before() -> Any:
    old.process.join(LONG)
    return old.process.exitcode, old.process.is_alive()


# -- Locks


def case_locks_over_a_fork() -> Any:
    """Who holds a lock goes on holding it; in the child nobody does."""
    got: list[Any] = []
    for make in (fork.Lock, fork.RLock):
        lock = make()

        def look() -> Any:
            return (
                lock.acquire(False),
                lock.acquire(timeout=SHORT / 2),
                lock._semlock._is_mine(),
                lock._semlock._count(),
                # Whose it is the name of the process says, and that of a thread in no other process.
                "None" in repr(lock),
            )

        with lock:
            got.append(in_child(look))
            got.append([lock._semlock._is_mine(), lock._semlock._count()])
    return got


def case_a_recursive_lock_is_no_child_s() -> Any:
    lock = fork.RLock()
    with lock, lock:
        got = in_child(lock.release)
        return got, Background(lock.release).result(), lock._semlock._count()


def case_a_lock_that_threads_wait_for_while_others_fork() -> Any:
    lock, taken = fork.Lock(), fork.Semaphore(0)

    def take() -> None:
        lock.acquire()
        taken.release()

    lock.acquire()
    waiting = [Background(take) for _ in range(3)]
    settle()
    process = started(take)
    settle()
    got = []
    for _ in range(4):  # each has its turn, in whatever process
        lock.release()
        got += [taken.acquire(timeout=LONG), lock.acquire(False), taken.acquire(False)]
    return got, [each.result() for each in waiting], ended(process), outcome(lock.release)


def case_a_child_waits_for_the_parent_s_lock() -> Any:
    for lock in (old.lock, old.rlock):
        lock.acquire()
    ours, theirs = fork.Pipe()

    def take() -> None:
        theirs.send("begun")
        with old.lock, old.rlock:
            theirs.send("had them")

    with ours, theirs:
        process = started(take)
        got = [ours.recv(), ours.poll(SHORT)]
        for lock in (old.lock, old.rlock):
            lock.release()
        return [*got, ours.recv(), ended(process), repr(old.lock), repr(old.rlock)]


def case_recursive_and_held_before() -> Any:
    count = old.held._semlock._count()
    others = Background(old.held.acquire, False).result(), in_child(old.held.acquire, False)
    old.held.release()
    middle = Background(old.held.acquire, False).result()
    old.held.release()
    free = Background(lambda: (old.held.acquire(), old.held.acquire(), old.held.release())[:2])
    got = free.result()
    # The thread has ended and holds it once: for ever, but for one who may release it.
    return count, others, middle, got, old.held.acquire(False)


def case_many_wait_in_turn() -> Any:
    lock = fork.Lock()
    done: list[int] = []

    def work(number: int) -> None:
        for _ in range(5):
            with lock:
                done.append(number)
                time.sleep(0)

    process = started(work, 0)
    threads = [Background(work, number) for number in range(6)]
    for thread in threads:
        thread.result()
    return len(done), ended(process), repr(lock)


def case_semaphores() -> Any:
    semaphore = old.semaphore
    got = [semaphore.acquire(), semaphore.acquire(timeout=SHORT), semaphore.acquire(False)]
    waiting = Background(semaphore.acquire)
    settle()
    got.append(semaphore.get_value())
    process = started(semaphore.release)
    got += [waiting.result(), ended(process)]
    bounded = fork.BoundedSemaphore(1)
    semaphore.release()
    semaphore.release()
    return [*got, outcome(bounded.release), semaphore.get_value()]


def case_conditions() -> Any:
    condition, ready = old.condition, fork.Semaphore(0)

    def notify() -> None:
        with condition:
            condition.notify_all()

    def wait() -> Any:
        with condition:
            ready.release()
            return condition.wait(LONG)

    waiting = [Background(wait) for _ in range(3)]
    for _ in waiting:
        ready.acquire()
    process = started(notify)
    got = [each.result() for each in waiting]
    with condition:
        return [*got, condition.wait(SHORT / 2), ended(process)]


def case_events() -> Any:
    waiting = [Background(old.event.wait, LONG) for _ in range(3)]
    short = Background(old.event.wait, SHORT / 2).result()
    process = started(old.event.set)
    return short, [each.result() for each in waiting], ended(process), old.event.is_set()


def case_barriers() -> Any:
    barrier = fork.Barrier(3)
    process = started(barrier.wait, LONG)
    threads = [Background(barrier.wait, LONG) for _ in range(2)]
    met = all(each.result() in range(3) for each in threads)
    code = ended(process)
    return met, code, kind(barrier.wait, SHORT / 2), barrier.broken


# -- Queues and pipes


def case_queues() -> Any:
    def work() -> None:
        for item in iter(old.simple.get, None):
            old.queue.put(item * 2)

    process = started(work)
    putting = [Background(lambda: [old.simple.put(n) for n in range(20)]) for _ in range(2)]
    getting = [Background(lambda: [old.queue.get() for _ in range(10)]) for _ in range(4)]
    for each in putting:
        each.result()
    got = sorted(item for each in getting for item in each.result())
    old.simple.put(None)
    return got, ended(process), old.simple.empty(), kind(old.queue.get, True, SHORT / 2)


def case_a_queue_in_one_process() -> Any:
    bounded = fork.Queue(1)
    with contextlib.closing(bounded):
        bounded.put("first")
        putting = Background(bounded.put, "second")
        settle()
        got = [kind(bounded.put, 3, True, SHORT / 2), bounded.get(), putting.result()]
        got += [bounded.get(timeout=LONG), kind(bounded.get_nowait), kind(bounded.get, True, 0.001)]
        getting = Background(bounded.get)
        settle()
        bounded.put(b"x" * BIG)
        got.append(len(getting.result()))
    bounded.join_thread()
    return got


def case_a_queue_that_is_joined() -> Any:
    tasks = fork.JoinableQueue()
    tasks.put("work")
    joining = Background(tasks.join)
    settle()
    process = started(lambda: (tasks.get(), tasks.task_done()))
    got = joining.result(), ended(process), outcome(tasks.task_done)
    tasks.close()
    tasks.join_thread()
    return got


def case_pipes() -> Any:
    def echo() -> None:
        for message in iter(old.theirs.recv, None):
            old.theirs.send(message)
        buffer = bytearray(10)
        size = old.theirs.recv_bytes_into(buffer, 2)
        old.theirs.send_bytes(buffer, 0, size + 2)

    process = started(echo)
    early = old.ours.poll(SHORT / 2), old.ours.poll()
    receiving = Background(old.ours.recv)
    settle()
    old.ours.send({"a": [1, 2]})
    got = [receiving.result()]
    sending = Background(old.ours.send, "y" * BIG)
    got.append(len(old.ours.recv()))
    sending.result()
    old.ours.send(None)
    old.ours.send_bytes(b"bytes")
    return early, got, old.ours.recv_bytes(), ended(process)


def case_the_other_end_goes() -> Any:
    ours, theirs = fork.Pipe()
    process = started(time.sleep, SHORT)
    theirs.close()  # the child has a copy as long as it lives
    got = outcome(ours.recv), kind(ours.send, "to nobody"), ended(process)
    ours.close()
    return got, outcome(ours.recv)


def case_wait_for_many_connections() -> Any:
    pipes = [fork.Pipe() for _ in range(5)]
    with contextlib.ExitStack() as stack:
        for pair in pipes:
            for end in pair:
                stack.enter_context(end)
        sources = [source for source, _ in pipes]
        nothing = multiprocessing.connection.wait(sources, SHORT / 2)
        waiting = Background(multiprocessing.connection.wait, [*sources, old.ours.fileno()])
        settle()
        process = started(pipes[3][1].send, "x")
        ready = [sources.index(each) for each in waiting.result()]
        sentinel = multiprocessing.connection.wait([process.sentinel], LONG)
        return nothing, ready, sentinel == [process.sentinel], ended(process)


def case_listeners_and_clients() -> Any:
    got = []
    with tempfile.TemporaryDirectory() as directory:
        for address in (f"{directory}/socket", ("127.0.0.1", 0)):
            with multiprocessing.connection.Listener(address, authkey=b"key") as listener:

                def ask(key: bytes, where: Any = listener.address) -> Any:
                    with multiprocessing.connection.Client(where, authkey=key) as client:
                        client.send("hello")
                        return client.recv()

                accepting = Background(listener.accept)
                settle()
                process = started(lambda ask=ask: os._exit(len(ask(b"key"))))
                with accepting.result() as server:
                    server.send(server.recv().upper())
                    got.append(ended(process))
                wrong = Background(ask, b"wrong")
                got += [kind(listener.accept), wrong.result()]
    return got


# -- What is shared, and pools


def case_shared_memory() -> Any:
    array = fork.Array("i", 4)
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=10)
    octets = memory.buf
    assert octets is not None

    def change(number: int) -> None:
        with array, old.value.get_lock():
            array[number] = number
            old.value.value += number
        octets[number] = number

    processes = [started(change, number) for number in range(3)]
    change(3)
    codes = [ended(process) for process in processes]
    got = list(array), old.value.value, bytes(octets[:5]), codes
    octets.release()
    memory.close()
    memory.unlink()
    return got


def case_pools() -> Any:
    with fork.Pool(2, initializer=settle, maxtasksperchild=3) as pool:
        calls = [Background(pool.apply, pow, (2, number)) for number in range(10)]
        got: list[Any] = [call.result() for call in calls]
        got += [pool.map(abs, range(-10, 0), 3), list(pool.imap(abs, range(-3, 0)))]
        failing = pool.apply_async(int, ("x",))
        got += [outcome(failing.get, LONG), failing.ready(), failing.successful()]
        slow = pool.apply_async(time.sleep, (LONG,))
        got += [kind(slow.get, SHORT / 2), slow.ready()]
    pool.join()
    return [*got, outcome(pool.apply, abs, (1,))]


def case_pools_end() -> Any:
    pool = fork.Pool(2)
    called: list[Any] = []
    waiting = pool.map_async(abs, [-1, -2], callback=called.append)
    pool.close()
    pool.join()
    threads = multiprocessing.pool.ThreadPool(3)
    with threads:
        got = threads.map(lambda number: (time.sleep(SHORT / 4), number)[1], range(6))
    threads.join()
    return waiting.get(LONG), called, got


def case_executors() -> Any:
    source, sink = os.pipe()
    with concurrent.futures.ProcessPoolExecutor(2, fork, settle) as executor:
        got: list[Any] = [list(executor.map(abs, range(-8, 0), chunksize=3))]
        calls = [Background(lambda n=n: executor.submit(pow, 2, n).result(LONG)) for n in range(6)]
        got += [call.result() for call in calls]
        failing = executor.submit(int, "x")
        got.append(repr(failing.exception(LONG)))
        late = executor.submit(os.read, source, 1)
        got += [kind(late.result, SHORT / 2), os.write(sink, b"x"), late.result(LONG)]
    os.close(source)
    os.close(sink)
    return [*got, outcome(executor.submit, abs, 1)]


def case_threads_of_an_executor() -> Any:
    gate, begun = threading.Event(), threading.Semaphore(0)

    def block(number: int) -> Any:
        begun.release()
        return gate.wait(LONG), number

    with concurrent.futures.ThreadPoolExecutor(2, "worker") as executor:
        blocked = [executor.submit(block, number) for number in range(2)]
        for _ in blocked:
            begun.acquire()
        queued = [executor.submit(abs, -number) for number in range(3)]
        got: list[Any] = [queued[2].cancel(), blocked[0].cancel(), blocked[0].running()]
        got.append(len(concurrent.futures.wait(queued[:2], SHORT / 2).not_done))
        gate.set()
        got += [each.result(LONG) for each in [*blocked, *queued[:2]]]
        got += sorted({call.result() for call in [executor.submit(name) for _ in range(9)]})[:1]
        got.append([len(concurrent.futures.wait(queued, LONG).done)])
    return [*got, outcome(executor.submit, abs, 1), kind(queue.Queue().get_nowait)]


def name() -> str:
    return threading.current_thread().name.rpartition("_")[0]

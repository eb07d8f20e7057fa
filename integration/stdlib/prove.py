"""Proves that patching is active, before any result is taken for conformance.

Rule: a test that passes because a thing was left unpatched is no pass. Each check starts a "thread"
that keeps counting, blocks in one function of the standard library, and sees whether (a) the counting
went on and (b) the kernel knows no further thread in this process. Under plain Python (a) holds and (b)
does not; where a blocking call was left as it is, (a) does not.

Prints one line, "PROOF " and JSON: {check: [holds, what was seen]}.
"""

from __future__ import annotations

import _queue
import importlib
import json
import multiprocessing
import os
import queue
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SPAN = 0.3  # seconds that each check blocks
STEP = 0.01  # seconds between two counts
PATIENCE = 3.0  # seconds after which a check that blocks everything is given up

CHILD = """
import os, threading, time
gate = threading.Event()
before = len(os.listdir("/proc/self/task"))
threading.Thread(target=gate.wait, args=(5,), daemon=True).start()
time.sleep(0.01)
print(len(os.listdir("/proc/self/task")) - before)
gate.set()
"""


def native_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def later(do: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(SPAN, do)
    timer.daemon = True
    timer.start()
    return timer


def blocking_calls() -> dict[str, Callable[[], object]]:
    """Name -> a call that blocks for SPAN seconds."""

    def thread_join() -> None:
        thread = threading.Thread(target=time.sleep, args=(SPAN,))
        thread.start()
        thread.join()

    def lock() -> None:
        taken = threading.Lock()
        taken.acquire()
        taken.acquire(timeout=SPAN)

    def condition() -> None:
        waited_for = threading.Condition()
        with waited_for:
            waited_for.wait(SPAN)

    def get(empty: Any) -> None:
        try:
            empty.get(timeout=SPAN)
        except queue.Empty:
            pass

    def receive() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            later(lambda: theirs.send(b"x"))
            ours.recv(1)

    def accept() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(SPAN)
            try:
                server.accept()
            except TimeoutError:
                pass

    def read_pipe() -> None:
        reader, writer = os.pipe()
        later(lambda: os.write(writer, b"x"))
        os.read(reader, 1)
        os.close(reader)
        os.close(writer)

    def poll() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            poller = select.poll()
            poller.register(ours, select.POLLIN)
            poller.poll(SPAN * 1000)

    def epoll() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, select.epoll() as poller:
            poller.register(ours, select.EPOLLIN)
            poller.poll(SPAN)

    def selector() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, selectors.DefaultSelector() as chosen:
            chosen.register(ours, selectors.EVENT_READ)
            chosen.select(SPAN)

    def wait_for_child() -> None:
        subprocess.run(["/bin/sleep", str(SPAN)], check=True)

    return {
        "time.sleep": lambda: time.sleep(SPAN),
        "threading.Thread.join": thread_join,
        "threading.Lock.acquire": lock,
        "threading.Condition.wait": condition,
        "threading.Event.wait": lambda: threading.Event().wait(SPAN),
        "queue.Queue.get": lambda: get(queue.Queue()),
        "queue.SimpleQueue.get": lambda: get(queue.SimpleQueue()),
        "_queue.SimpleQueue.get": lambda: get(_queue.SimpleQueue()),
        "socket.recv": receive,
        "socket.accept": accept,
        "os.read on a pipe": read_pipe,
        "select.select": lambda: select.select([], [], [], SPAN),
        "select.poll": poll,
        "select.epoll": epoll,
        "selectors.DefaultSelector": selector,
        "subprocess.run": wait_for_child,
    }


def cooperates(block: Callable[[], object]) -> tuple[bool, str]:
    """Whether a blocking call lets another "thread" run without a native one."""
    counts: list[int] = []
    stop = threading.Event()

    def count() -> None:
        while not stop.is_set():
            time.sleep(STEP)
            counts.append(native_threads())

    before = native_threads()
    counter = threading.Thread(target=count)
    counter.start()
    time.sleep(STEP)
    counts.clear()
    try:
        block()
        went_on = len(counts)
    finally:
        stop.set()
        counter.join()
    more = max(counts, default=before) - before
    seen = f"the other thread went on {went_on} times, native threads more: {more}"
    return went_on >= 3 and more == 0, seen


def in_this_process() -> tuple[bool, str]:
    gate = threading.Event()
    before = native_threads()
    threads = [threading.Thread(target=gate.wait, args=(5,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    time.sleep(STEP)
    more = native_threads() - before
    gate.set()
    for thread in threads:
        thread.join()
    return more == 0, f"native threads for 5 Threads: {more}"


def report_threads(pipe: Any) -> None:
    """The body of a multiprocessing child."""
    pipe.send(in_this_process())
    pipe.close()


def by_multiprocessing(method: str) -> tuple[bool, str]:
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe(duplex=False)
    # The attribute is there in every context; typeshed names it in the concrete ones only.
    child: Any = getattr(context, "Process")(target=report_threads, args=(theirs,))  # noqa: B009
    child.start()
    theirs.close()
    try:
        answer = ours.recv() if ours.poll(PATIENCE) else (False, "no answer")
    except EOFError:
        answer = (False, "the child ended without an answer")
    child.join(1)
    if child.is_alive():
        child.kill()
    holds, seen = answer
    return holds, seen


def by_executable() -> tuple[bool, str]:
    child = subprocess.run(
        [sys.executable, "-c", CHILD], stdout=subprocess.PIPE, timeout=PATIENCE, check=True
    )
    return read_child(child.stdout)


def by_script_helper() -> tuple[bool, str]:
    """How most tests start a child, set up as driver.py does it."""
    helper: Any = importlib.import_module("test.support.script_helper")
    vars(helper)["__cached_interp_requires_environment"] = True
    return read_child(helper.assert_python_ok("-c", CHILD).out)


def read_child(output: bytes) -> tuple[bool, str]:
    more = int(output)
    return more == 0, f"native threads for 1 Thread: {more}"


def give_up(*_: object) -> None:
    raise TimeoutError("it blocks all threads")


def main() -> None:
    checks: dict[str, Callable[[], tuple[bool, str]]] = {"threading.Thread": in_this_process}
    for name, block in blocking_calls().items():
        checks[name] = lambda block=block: cooperates(block)  # type: ignore[misc]  # a loop's value
    for method in ("fork", "spawn", "forkserver"):
        checks[f"multiprocessing child, {method}"] = lambda m=method: by_multiprocessing(m)  # type: ignore[misc]  # a loop's value
    checks["sys.executable -c"] = by_executable
    checks["test.support.script_helper"] = by_script_helper
    proof: dict[str, tuple[bool, str]] = {}
    signal.signal(signal.SIGALRM, give_up)
    for name, check in checks.items():
        try:
            signal.setitimer(signal.ITIMER_REAL, PATIENCE)
            proof[name] = check()
        except Exception as problem:  # e.g. select.epoll was removed: that is an answer as well
            proof[name] = (False, f"{type(problem).__name__}: {problem}")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    print(f"\nPROOF {json.dumps(proof)}")


if __name__ == "__main__":
    main()

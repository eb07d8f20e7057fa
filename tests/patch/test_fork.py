"""fork leaves on graftlet what it leaves on real threads."""

from __future__ import annotations

import sys

import pytest

from tests.isolated import run_ok
from tests.patch.harness.run import Suite

CASES = Suite("forks")


@pytest.mark.parametrize("case", CASES.parameters())
def test_same_as_with_threads(case: str) -> None:
    CASES.check(case)


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue"])
def test_who_waits_in_a_queue_in_the_parent_takes_nobodys_turn_in_the_child(kind: str) -> None:
    """Not so with threads: there ``put`` wakes one that does not exist in the child."""
    out = run_ok(
        """
        import graftlet
        graftlet.patch_all()
        import os, queue, sys, threading, time, warnings

        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside a thread
        items = getattr(queue, sys.argv[1])()
        waiters = [threading.Thread(target=items.get) for _ in range(3)]
        for waiter in waiters:
            waiter.start()
        time.sleep(0.01)
        items.put("old")  # one is woken, and does not run before the fork
        child = os.fork()
        if child == 0:
            got = []
            getter = threading.Thread(target=lambda: got.extend([items.get(), items.get()]))
            getter.start()
            time.sleep(0.01)
            items.put("new")
            getter.join(10)
            os._exit(7 if got == ["old", "new"] else 1)
        for _ in range(2):
            items.put("old")
        for waiter in waiters:
            waiter.join()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        kind,
    )
    assert out == "7\n"


def test_what_a_native_thread_had_at_the_fork_is_free_in_the_child() -> None:
    """The guards of what native threads and greenlets share, each held for an instant only."""
    out = run_ok(
        """
        import graftlet
        graftlet.patch_all()
        import fcntl, os, tempfile, threading, warnings
        from graftlet import native
        from graftlet.core import _greenlet
        from graftlet.io import _locks
        from graftlet.sync import _waitable

        def work():
            lock = threading.Lock()
            lock.acquire()
            graftlet.spawn_later(0.01, lock.release)
            lock.acquire()
            with open(file.name) as first, open(file.name) as second:
                fcntl.flock(first, fcntl.LOCK_EX)
                graftlet.spawn_later(0.01, fcntl.flock, first, fcntl.LOCK_UN)
                fcntl.flock(second, fcntl.LOCK_EX)
            graftlet.spawn(graftlet.sleep, 0.01).join()

        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside a thread
        held, forked = native.Event(), native.Event()

        def hold():
            with _waitable._making, _greenlet._making, _locks._table_guard:
                held.set()
                forked.wait()

        with tempfile.NamedTemporaryFile() as file:
            holder = native.Thread(target=hold)
            holder.start()
            held.wait()
            child = os.fork()
            if child == 0:
                work()
                os._exit(7)
            forked.set()
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            holder.join()
        """
    )
    assert out == "7\n"


@pytest.mark.skipif(sys.version_info < (3, 13), reason="threading took it for ended, up to 3.12")
def test_a_thread_made_before_the_fork_may_be_started_in_the_child() -> None:
    out = run_ok(
        """
        import graftlet
        graftlet.patch_all()
        import os, threading, time, warnings

        warnings.simplefilter("ignore", DeprecationWarning)
        thread = threading.Thread(target=time.sleep, args=(0.05,))
        child = os.fork()
        if child == 0:
            before = time.monotonic()
            thread.start()
            alive = thread.is_alive()
            thread.join()
            os._exit(7 if alive and time.monotonic() - before >= 0.05 and not thread.is_alive() else 8)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    )
    assert out == "7\n"


def test_a_child_of_a_process_that_has_no_descriptor_left() -> None:
    """And whose limit is lower than the numbers of the hub's own."""
    out = run_ok(
        """
        import graftlet
        graftlet.patch_all()
        import os, resource, threading, time

        time.sleep(0.001)  # there is a hub now
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
        held = []
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        child = os.fork()
        if child == 0:
            ticks = []
            thread = threading.Thread(target=lambda: ticks.append(time.sleep(0.01)))
            thread.start()
            thread.join()
            os._exit(len(ticks) if resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 100 else 7)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    )
    assert out == "1\n"

"""fork leaves on graftlet what it leaves on real threads."""

from __future__ import annotations

import pytest

from tests.isolated import run_ok
from tests.patch.harness.run import Suite

CASES = Suite("forks")


@pytest.mark.parametrize("case", CASES.parameters())
def test_same_as_with_threads(case: str) -> None:
    CASES.check(case)


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
        from graftlet.sync import _lock

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
            with _lock._making, _greenlet._making, _locks._table_guard:
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

"""What asyncio and graftlet do to each other when patching, killing and undoing come in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.isolated import run, run_ok

if TYPE_CHECKING:
    from pathlib import Path

NO_LOOP = """
import asyncio

def no_loop():
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False
"""


def test_asyncio_is_not_imported_for_patching() -> None:
    out = run_ok(
        """
        import sys
        import graftlet
        before = "asyncio" in sys.modules
        graftlet.patch_all()
        print(before, "asyncio" in sys.modules, "_asyncio" in sys.modules)
        """
    )
    assert out == "False False False\n"


@pytest.mark.parametrize("order", ["first", "last"])
def test_undone(order: str) -> None:
    out = run_ok(
        """
        import sys
        if sys.argv[1] == "last":
            import asyncio
        import graftlet
        finders = list(sys.meta_path)
        graftlet.patch_all()
        import asyncio
        import _asyncio

        owners = (_asyncio, asyncio.events)
        for owner in owners:
            print(type(owner._set_running_loop).__name__, owner._set_running_loop)
        asyncio.run(asyncio.sleep(0))
        graftlet.unpatch_all()
        for owner in owners:
            print(type(owner._set_running_loop).__name__)
        print(asyncio._set_running_loop is asyncio.events._c__set_running_loop)
        print(sys.meta_path == finders)
        asyncio.run(asyncio.sleep(0))
        graftlet.patch_all()
        print(type(asyncio._set_running_loop).__name__)
        """,
        order,
    )
    stands = "_set_running_loop <built-in function _set_running_loop>\n" * 2
    native = "builtin_function_or_method\n" * 2
    assert out == f"{stands}{native}True\nTrue\n_set_running_loop\n"


def test_patched_and_unpatched_while_a_loop_runs() -> None:
    out = run_ok(
        NO_LOOP
        + """
import graftlet

async def main():
    graftlet.patch_all()
    other = graftlet.spawn(no_loop)
    other.join()
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0.001)
    print(other.value, loop is asyncio.get_running_loop())
    graftlet.unpatch_all()
    graftlet.sleep(0.001)
    print(loop is asyncio.get_running_loop())
    await asyncio.sleep(0.001)

asyncio.run(main())
graftlet.sleep(0)
print(no_loop(), graftlet.spawn(no_loop).get())
"""
    )
    assert out == "True True\nTrue\nTrue True\n"


def test_a_native_thread_that_gets_its_hub_while_its_loop_runs() -> None:
    out = run_ok(
        NO_LOOP
        + """
import sys
import graftlet
from graftlet.core import _original
graftlet.patch_all()

async def main():
    other = graftlet.spawn(no_loop)
    other.join()
    return other.value, asyncio.get_running_loop() is not None

def work():
    loop = asyncio.new_event_loop()
    results.append(loop.run_until_complete(main()))
    loop.close()
    results.append(no_loop())
    done.release()

results = []
done = _original.allocate_lock()
done.acquire()
_original.start_new_thread(work, ())
done.acquire()
while len(sys._current_frames()) > 1:
    _original.sleep(0.001)  # until the thread is gone
print(results)
"""
    )
    assert out == "[(True, True), True]\n"


def test_a_greenlet_with_a_loop_is_killed() -> None:
    out = run_ok(
        NO_LOOP
        + """
import sys, time
import graftlet
graftlet.patch_all()

async def main():
    try:
        time.sleep(10)
    finally:
        print("loop", asyncio.get_running_loop() is not None)
        await asyncio.sleep(0.001)

class Stop(Exception):
    pass

def job():
    try:
        asyncio.run(main())
    except Stop:
        return no_loop()

victim = graftlet.spawn(job)
graftlet.sleep(0)
victim.kill(Stop)
print(no_loop())
victim.join()
print(victim.value, no_loop(), sys.get_asyncgen_hooks() == (None, None))
"""
    )
    assert out == "True\nloop True\nTrue True True\n"


def test_greenlets_run_loops_and_share_an_event() -> None:
    out = run_ok(
        NO_LOOP
        + """
import graftlet
from graftlet.event import Event
graftlet.patch_all()
event = Event()

async def main(number):
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0.001)
    event.wait()
    assert loop is asyncio.get_running_loop()
    return number

jobs = [graftlet.spawn(asyncio.run, main(n)) for n in range(100)]
graftlet.sleep(0.02)
print(no_loop(), [job.ready() for job in jobs].count(True))
event.set()
print(sum(job.get() for job in jobs))
"""
    )
    assert out == "True 0\n4950\n"


@pytest.mark.parametrize("order", ["first", "last"])
def test_interrupt_from_the_terminal(order: str) -> None:
    outcome = run(
        """
        import sys
        import graftlet
        if sys.argv[1] == "first":
            graftlet.patch_all()
        import asyncio, os, signal, threading, time
        graftlet.patch_all()

        begun = threading.Event()

        async def main():
            try:
                begun.set()
                await asyncio.sleep(20)
            finally:
                print("cancelled", flush=True)

        async def other():
            while True:
                await asyncio.sleep(0.001)

        def interrupt():
            begun.wait()
            time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=asyncio.run, args=(other(),), daemon=True).start()
        threading.Thread(target=interrupt).start()
        asyncio.run(main())
        """,
        order,
    )
    assert outcome.status == -2, outcome
    assert outcome.out == "cancelled\n"
    assert outcome.err.rstrip().endswith("KeyboardInterrupt"), outcome.err


UVLOOP = """
import asyncio

class Loop(asyncio.AbstractEventLoop):
    'Waits in C.'

def new_event_loop():
    return Loop()

def run(main, *, loop_factory=new_event_loop):
    loop = loop_factory()
    try:
        assert isinstance(loop, Loop)
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
"""


@pytest.mark.parametrize("order", ["first", "last"])
def test_uvloop_lets_other_greenlets_run(order: str, tmp_path: Path) -> None:
    """Shown on a module of the same shape whose loop can't run at all."""
    tmp_path.joinpath("uvloop.py").write_text(UVLOOP)
    out = run_ok(
        """
        import sys
        sys.path.insert(0, sys.argv[2])
        if sys.argv[1] == "last":
            import uvloop
            from uvloop import Loop
        import graftlet
        graftlet.patch_all()
        import asyncio
        import uvloop
        from uvloop import Loop

        async def main():
            return await asyncio.to_thread(pow, 2, 5), type(asyncio.get_running_loop()) is Loop

        print(*uvloop.run(main()), Loop)
        graftlet.unpatch_all()
        print(uvloop.Loop.__doc__, Loop is uvloop.Loop)
        """,
        order,
        str(tmp_path),
    )
    # What was taken meanwhile goes back, too.
    assert out == "32 True <class 'uvloop.Loop'>\nWaits in C. True\n"


def test_without_the_accelerator() -> None:
    """As on an interpreter that has no ``_asyncio``: ``threading.local`` does it all."""
    out = run_ok(
        """
        import sys
        sys.modules["_asyncio"] = None
        import graftlet
        graftlet.patch_all()
        import asyncio, threading, time

        async def main():
            loop = asyncio.get_running_loop()
            for _ in range(3):
                time.sleep(0.001)
                await asyncio.sleep(0.001)
                assert loop is asyncio.get_running_loop()

        threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(5)]
        for thread in threads:
            thread.start()
        time.sleep(0.002)
        try:
            asyncio.get_running_loop()
        except RuntimeError as error:
            print(error)
        for thread in threads:
            thread.join()
        """
    )
    assert out == "no running event loop\n"

"""Threads that never wait take turns; who spawned greenlets keeps what it counts on."""

from __future__ import annotations

import sys

import pytest

from graftlet.core import _preempt
from graftlet.core._current import get_hub
from tests.isolated import run, run_ok
from tests.patch.harness.run import Suite

CASES = Suite("busy")


@pytest.mark.parametrize("case", CASES.parameters())
def test_same_as_with_threads(case: str) -> None:
    CASES.check(case)


SPIN = """
    import threading, time, graftlet
    graftlet.patch_all()
    done = []

    def spin(seconds):
        until = time.process_time() + seconds
        while time.process_time() < until and not done:
            pass

    def wait(seconds=0.01):
        time.sleep(seconds)
        done.append(True)
"""


def test_a_spawned_greenlet_yields_only_when_it_blocks() -> None:
    out = run_ok(
        SPIN
        + """
    threading.Thread(target=wait).start()

    def job():
        spin(0.1)
        assert not done
        return "never interrupted"

    print(graftlet.spawn(job).get())
    """
    )
    assert out == "never interrupted\n"


def test_without_threads_there_is_no_signal() -> None:
    out = run_ok(
        SPIN
        + """
    graftlet.spawn(wait, 0)
    spin(0.1)
    print(done)
    """
    )
    assert out == "[]\n"


def test_it_can_be_left_out() -> None:
    out = run_ok(
        SPIN.replace("patch_all()", "patch_all(preemption=False)")
        + """
    threading.Thread(target=wait, args=[0]).start()
    spin(0.1)
    print(done)
    """
    )
    assert out == "[]\n"


def test_the_process_ends_in_peace_while_a_daemon_spins() -> None:
    out = run_ok(
        SPIN
        + """
    import atexit
    atexit.register(spin, 0.05)
    threading.Thread(target=lambda: spin(1000), daemon=True).start()
    time.sleep(0.01)
    print("end", flush=True)
    """
    )
    assert out == "end\n"


def test_a_program_put_in_the_place_of_this_one_gets_no_signal() -> None:
    out = run_ok(
        SPIN
        + """
    import os, sys
    threading.Thread(target=wait).start()
    spin(5)
    try:
        os.execv("/no such program", ["x"])
    except FileNotFoundError:
        done.clear()
    threading.Thread(target=wait).start()
    spin(5)
    assert done, "no longer preempted after a failed exec"
    code = "import time\\nwhile time.process_time() < 0.3: pass\\nprint('untouched')"
    os.execv(sys.executable, [sys.executable, "-c", code])
    """
    )
    assert out == "untouched\n"


def test_children_preempt_threads_of_their_own() -> None:
    out = run_ok(
        SPIN
        + """
    import os
    threading.Thread(target=wait).start()
    spin(5)
    done.clear()
    child = os.fork()
    if child == 0:
        spin(0.05)
        threading.Thread(target=wait).start()
        spin(5)
        os._exit(0 if done else 1)
    print(os.waitpid(child, 0)[1])
    """
    )
    assert out == "0\n"


def test_un_patching_gives_signal_and_timer_back() -> None:
    out = run_ok(
        SPIN
        + """
    import signal
    from graftlet.core import _signals
    threading.Thread(target=wait).start()
    spin(5)
    assert _signals.installed(signal.SIGVTALRM) is not signal.SIG_DFL
    graftlet.unpatch_all()
    print(signal.getsignal(signal.SIGVTALRM) is signal.SIG_DFL)
    print(signal.getitimer(signal.ITIMER_VIRTUAL))
    """
    )
    assert out == "True\n(0.0, 0.0)\n"


def test_an_import_by_two_threads_is_made_once() -> None:
    """Importlib guards its table of module locks by a lock of the native thread."""
    out = run_ok(
        SPIN
        + """
    import importlib, importlib.machinery, sys
    made = []

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name.startswith("made_"):
                return importlib.machinery.ModuleSpec(name, self)
        def create_module(self, spec):
            return None
        def exec_module(self, module):
            made.append(module.__name__)
            until = time.process_time() + 0.002
            while time.process_time() < until:
                pass

    sys.meta_path.append(Finder())

    def load():
        for number in range(20):
            importlib.import_module(f"made_{number}")

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(len(made), len(set(made)))
    """
    )
    assert out == "20 20\n"


def test_a_handler_of_the_program_is_left_alone() -> None:
    ended = run(
        """
    import signal, threading, time, graftlet
    signal.signal(signal.SIGVTALRM, lambda *_: print("the program's own"))
    graftlet.patch_all()
    threading.Thread(target=print, args=["thread"]).start()
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    signal.raise_signal(signal.SIGVTALRM)
    """
    )
    assert (ended.status, ended.err) == (0, "")
    assert sorted(ended.out.splitlines()) == ["the program's own", "thread"]


def test_never_inside_of_graftlet() -> None:
    hub = get_hub()
    here = sys._getframe()
    assert _preempt.may_be_preempted(hub, hub.main, here) == (hub.current is hub.main)
    code = compile("import sys\nframe = sys._getframe()", "inside.py", "exec")
    for module, expected in (
        ("graftlet.sync._lock", False),
        ("graftlet.core._hub", False),
        ("importlib._bootstrap", False),
        ("graftlet.launch._run", True),
        ("program", True),
    ):
        space: dict[str, object] = {"__name__": module}
        exec(code, space)
        frame = space["frame"]
        assert _preempt.may_be_preempted(hub, hub.main, frame) is expected, module  # type: ignore[arg-type]


def test_never_inside_of_c() -> None:
    """A BufferedWriter takes all greenlets for one thread, and looks for signals while it writes."""
    out = run_ok(
        """
    import io, threading, time, graftlet
    graftlet.patch_all()
    turns = []

    def write(number):
        until = time.process_time() + 0.3
        while time.process_time() < until:
            file.write(b"123456789")
            if turns[-1:] != [number]:
                turns.append(number)

    with open("/dev/null", "wb", buffering=0) as raw:
        file = io.BufferedWriter(raw, 8)
        threads = [threading.Thread(target=write, args=[number]) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(len(turns) > 3)
    """
    )
    assert out == "True\n"


@pytest.mark.parametrize(
    "loop",
    [
        "while not done: pass",
        "while len(done) < 1: pass",
        "while (done[-1] if done else None) is None: pass",
        "while (None if done else spin) is not None: pass",
        "while True:\n    if done: break",
        "for _ in iter(lambda: bool(done), True): pass",
        "for _ in itertools.takewhile(lambda _: not done, itertools.count()): pass",
        "[_ for _ in itertools.count() if not done or end()]",
        "any(done for _ in itertools.count())",
        "max(_ if not done else end() for _ in itertools.count())",
        "def wait():\n    while not done: abs(1)\nwait()",
        "while not done: same(1)",
    ],
)
def test_every_kind_of_loop_is_preempted(loop: str) -> None:
    out = run_ok(
        f"""
        import itertools, threading, time, graftlet
        graftlet.patch_all()
        done = []

        def same(value):
            return value

        def end():
            raise StopIteration

        def spin():
            try:
                exec({loop!r}, globals())
            except (StopIteration, RuntimeError):
                pass  # of a generator
            print(done)

        def wait():
            time.sleep(0.01)
            done.append(True)

        threading.Thread(target=wait).start()
        spinning = threading.Thread(target=spin)
        spinning.start()
        spinning.join()
        """
    )
    assert out == "[True]\n"


IN_OURS = """
    import signal, threading, types, graftlet
    graftlet.patch_all()
    from graftlet.core import _preempt, _signals
    from graftlet.core._beats import BEATS

    asked = 0
    ask = _signals.again

    def count(number):
        global asked
        asked += 1
        return ask(number)

    _signals.again = count

    def call(times):
        for _ in range(2):  # the first is only noted
            signal.raise_signal(signal.SIGVTALRM)
        for _ in range(times):
            max(1, 2)

    # As if it were one of graftlet's functions.
    call = types.FunctionType(call.__code__, {"__name__": "graftlet.sync.ours", "signal": signal})
    order = []
    go_on = threading.Event()

    def wait():
        go_on.wait()
        order.append("woken")

    def spin(times):
        go_on.set()
        call(times)
        for _ in range(2):
            pass
        order.append("spins")

    def run(times):
        global asked
        order.clear()
        go_on.clear()
        threads = [threading.Thread(target=wait), threading.Thread(target=spin, args=[times])]
        threads[0].start()
        BEATS[0].start(1000)  # none but those that are made here
        asked = 0
        threads[1].start()
        for thread in threads:
            thread.join()
        print("last:", order[-1], 0 < asked < _preempt.MOST_REPEATS, asked == _preempt.MOST_REPEATS)
"""


def test_a_signal_within_graftlet_takes_effect_when_the_function_has_returned() -> None:
    out = run_ok(IN_OURS + "    run(2)\n")
    assert out == "last: spins True False\n"


def test_where_c_calls_graftlet_for_long_no_time_is_lost_with_asking() -> None:
    out = run_ok(IN_OURS + "    run(1000)\n")
    assert out == "last: woken False True\n"

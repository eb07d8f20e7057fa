"""Signals come in on graftlet as on real threads."""

from __future__ import annotations

import signal

import pytest

from tests.isolated import run
from tests.patch.harness.run import Suite

CASES = Suite("signals")


@pytest.mark.parametrize("case", CASES.parameters())
def test_same_as_with_threads(case: str) -> None:
    CASES.check(case)


def test_a_pause_without_any_handler_is_ended_from_outside() -> None:
    """The end of many a daemon's main program."""
    outcome = run(
        """
        import graftlet
        graftlet.patch_all()
        import os, signal, subprocess, sys

        killer = subprocess.Popen([sys.executable, "-c", f"import os, time; time.sleep(0.3); os.kill({os.getpid()}, 15)"])
        signal.pause()
        """
    )
    assert (outcome.status, outcome.err) == (-signal.SIGTERM, "")


def test_no_signal_of_ours_is_written_to_the_wakeup_descriptor() -> None:
    """Not even when it comes in just when the descriptor is set, however long that takes."""
    outcome = run(
        """
        import graftlet
        graftlet.patch_all()
        import signal, socket, threading, time
        from graftlet.core._preempt import preempter
        from graftlet.patch import _signals

        def compute():
            until = time.process_time() + 0.03
            while time.process_time() < until:
                pass

        def slowly(fd, **kwargs):
            before = native(fd, **kwargs)
            compute()
            return before

        native, _signals.native_set_wakeup_fd = _signals.native_set_wakeup_fd, slowly
        done = threading.Event()
        thread = threading.Thread(target=done.wait)
        thread.start()
        reader, writer = socket.socketpair()
        with reader, writer:
            reader.setblocking(False)
            writer.setblocking(False)
            on = [preempter.is_on]
            signal.set_wakeup_fd(writer.fileno())
            on.append(preempter.is_on)
            signal.set_wakeup_fd(-1)
            on.append(preempter.is_on)
            try:
                print(reader.recv(10))
            except BlockingIOError:
                print("nothing", on)
        done.set()
        thread.join()
        """
    )
    assert (outcome.out, outcome.err) == ("nothing [True, False, True]\n", "")


def test_a_thread_that_has_ended_gets_no_signal() -> None:
    """C takes an ident for a pointer: real threads may crash here."""
    outcome = run(
        """
        import graftlet
        graftlet.patch_all()
        import graftlet.native, signal, threading, time

        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        for function in (lambda ident: signal.pthread_kill(ident, 0), time.pthread_getcpuclockid):
            try:
                function(thread.ident)
            except ProcessLookupError as error:
                print(error)
        native = graftlet.native.Thread(target=time.sleep, args=(0.1,))
        native.start()
        print(signal.pthread_kill(native.ident, 0))
        """
    )
    assert outcome.out == "[Errno 3] No such process\n" * 2 + "None\n"

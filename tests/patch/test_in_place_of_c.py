"""What C does for native threads and nothing in Python stands for, each in a fresh interpreter."""

from __future__ import annotations

import sys

import pytest

from tests.isolated import run_ok

START = """
    import faulthandler, io, os, signal, sys, threading, time, graftlet
    graftlet.patch_all()
"""


def test_an_exception_set_by_the_c_api_leaves_a_threads_wait() -> None:
    out = run_ok(
        START
        + """
    import ctypes
    set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc

    def wait():
        try:
            time.sleep(100)
        except KeyError:
            print("raised")

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.01)
    print(set_exception(ctypes.c_ulong(1), ctypes.py_object(KeyError)))
    print(set_exception(ctypes.c_ulong(thread.ident), ctypes.py_object(ValueError)))
    print(set_exception(ctypes.c_ulong(thread.ident), None))
    print(set_exception(ctypes.c_ulong(thread.ident), ctypes.py_object(KeyError)))
    thread.join()
    graftlet.patch.unpatch_all()
    print(type(ctypes.pythonapi.PyThreadState_SetAsyncExc).__name__)
    """
    )
    assert out.split() == ["0", "1", "1", "1", "raised", "_FuncPtr"]


def test_faulthandler_shows_threads_that_are_greenlets() -> None:
    out = run_ok(
        START
        + """
    def waiter():
        time.sleep(0.1)

    def dumper():
        faulthandler.dump_traceback(1)

    thread = threading.Thread(target=waiter)
    thread.start()
    time.sleep(0.01)
    dumper()
    thread.join()
    """
    )
    waiting, running = out.split("Current thread")
    assert "in waiter" in waiting and "in dumper" not in waiting
    assert "in dumper" in running and "graftlet" not in out


def test_faulthandler_names_the_methods_that_have_a_stand_in() -> None:
    out = run_ok(
        START
        + """
    import queue
    event, items, condition = threading.Event(), queue.Queue(), threading.Condition()

    def in_condition():
        with condition:
            condition.wait()

    for wait in (event.wait, items.get, in_condition):
        threading.Thread(target=wait, daemon=True).start()
    time.sleep(0.01)
    faulthandler.dump_traceback(1)
    """
    )
    innermost = [stack.splitlines()[1] for stack in out.split("Thread 0x")[1:]]
    named = sorted((line.split('"')[1].rpartition("/")[2], line.split()[-1]) for line in innermost)
    assert named == [("queue.py", "get"), ("threading.py", "wait"), ("threading.py", "wait")]
    assert "in in_condition" in out


def test_faulthandler_shows_main_where_it_waits_after_a_timeout() -> None:
    out = run_ok(
        START
        + """
    import tempfile

    def waits(file):
        faulthandler.dump_traceback_later(0.05, repeat=True, file=file)
        while os.pread(file.fileno(), 10**6, 0).count(b"Timeout") < 2:
            time.sleep(0.2)
        faulthandler.cancel_dump_traceback_later()

    threading.Thread(target=time.sleep, args=(0,)).start()
    with tempfile.TemporaryFile("w+") as file:
        waits(file)
        file.seek(0)
        print(file.read())
    """
    )
    assert out.startswith("Timeout (0:00:00.050000)!\n")
    assert out.count("in waits") == out.count("Timeout") >= 2


def test_a_signal_that_waits_for_its_handler_is_not_counted_twice() -> None:
    out = run_ok(
        START
        + """
    calls = []
    signal.signal(signal.SIGUSR1, lambda *_: calls.append(1))

    def send():
        for _ in range(5):
            signal.raise_signal(signal.SIGUSR1)

    thread = threading.Thread(target=send)
    thread.start()
    thread.join()
    print(len(calls))
    """
    )
    assert out == "1\n"


def test_a_restarting_signal_leaves_a_read_alone() -> None:
    out = run_ok(
        START
        + """
    graftlet.get_hub()
    reader, writer = os.pipe()
    signal.signal(signal.SIGUSR1, lambda *_: print("handler", flush=True))
    signal.siginterrupt(signal.SIGUSR1, False)

    def send():
        time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.02)
        print("writes", flush=True)
        os.write(writer, b"x")

    threading.Thread(target=send).start()
    print(os.read(reader, 1))
    """
    )
    assert out.split() == ["writes", "handler", "b'x'"]


def test_threads_take_turns_when_the_program_has_both_timers() -> None:
    out = run_ok(
        START
        + """
    for number in (signal.SIGVTALRM, signal.SIGPROF):
        signal.signal(number, lambda *_: print("not the program's"))
    done = []

    def spin():
        while not done:
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    time.sleep(0.05)
    done.append(1)
    thread.join()
    print("took turns")
    """
    )
    assert out == "took turns\n"


@pytest.mark.skipif(sys.version_info < (3, 13), reason="_interpreters is new in 3.13")
def test_another_interpreter_runs_beside() -> None:
    out = run_ok(
        START
        + """
    import _interpreters
    reader, writer = os.pipe()
    other = _interpreters.create()

    def run():
        _interpreters.run_string(other, f"import os; os.read({reader}, 1)")
        print("ran")

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.05)
    print("meanwhile")
    os.write(writer, b"x")
    thread.join()
    _interpreters.destroy(other)
    """
    )
    assert out.split() == ["meanwhile", "ran"]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="a send that waits is new in 3.13")
def test_nothing_of_a_call_in_a_native_thread_is_left_when_it_has_returned() -> None:
    out = run_ok(
        START
        + """
    import _interpchannels as channels

    for _ in range(300):
        cid = channels.create(1)
        thread = threading.Thread(target=channels.close, args=(cid,), kwargs={"force": True})
        thread.start()
        try:
            channels.send(cid, b"x", blocking=True)
        except channels.ChannelClosedError:
            pass
        thread.join()
        del cid, thread
        # Python 3.13 crashes here if somebody still has the ID of a channel that is closed.
        assert channels.list_all() == []
    """
    )
    assert out == ""


@pytest.mark.skipif(sys.version_info < (3, 13), reason="PythonFinalizationError is new in 3.13")
def test_a_wait_at_the_end_of_the_interpreter_that_nobody_could_end_is_an_error() -> None:
    out = run_ok(
        START
        + """
    lock = threading.Lock()
    lock.acquire()

    class Late:
        def __init__(self):
            self.itself = self

        def __del__(self, os=os, time=time, lock=lock):
            time.sleep(0.001)
            try:
                lock.acquire()
            except PythonFinalizationError:
                os.write(1, b"refused\\n")

    Late()
    """
    )
    assert out == "refused\n"

"""Runs one judged process and watches over it.

Rule: what a process did is known from its event file and from how it ended, nothing else. A process
that reports nothing for too long is hung: its stacks are taken, then it and everything below it
is killed. Nothing that was started here is still there when `watch` returns.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from integration.stdlib.conformance import isolate
from integration.stdlib.conformance.target import environment

if TYPE_CHECKING:
    from collections.abc import Callable

# A real-time signal that no test uses; see driver.write_stacks().
STACKS_SIGNAL: Final = signal.SIGRTMIN + 9
_LOOK_EVERY: Final = 0.05  # seconds
_OUTPUT_KEPT: Final = 6000  # characters of a dead process's output


@dataclass
class Spec:
    """What driver.py is asked to do; it reads this from a JSON file."""

    module: str  # such as "test.test_queue"
    resources: list[str]
    skip: list[str] = field(default_factory=list)  # keys of tests not to run
    only: list[str] | None = None  # keys of tests to run, or ends of such keys
    path: str = ""  # put in front of sys.path
    patched: bool = False  # fail if a Thread makes a native thread
    stacks_signal: int = STACKS_SIGNAL
    events: str = ""  # the files that the driver appends to
    stacks: str = ""


@dataclass
class Ended:
    """How a process ended: by itself, with `status`, or `hung` and then killed."""

    status: int
    hung: bool
    output: str  # the end of what it wrote to stdout and stderr
    stacks: str  # of a hung process
    leftovers: list[str]  # descriptions of processes it left behind

    def how(self) -> str:
        """The end in words, for a report."""
        if self.status < 0:
            try:
                return f"killed by {signal.Signals(-self.status).name}"
            except ValueError:
                return f"killed by signal {-self.status}"
        return f"exit status {self.status}"


def watch(
    command: list[str],
    on_event: Callable[[dict[str, Any]], None],
    patience: Callable[[], float],
    spec: Spec | None = None,
    show: bool = False,
) -> Ended:
    """Run `command`, with the path of `spec` as its last argument, until it ends or hangs.

    `patience` gives the seconds to wait, from now, for the next event; it is asked after each one.
    """
    with tempfile.TemporaryDirectory(prefix="gc-", ignore_cleanup_errors=True) as name:
        # Short paths: some tests bind UNIX sockets below, whose names fit in 108 bytes.
        top = Path(name)
        (top / "t").mkdir()
        (top / "cwd").mkdir()
        events, output, stacks = top / "events", top / "output", top / "stacks"
        events.touch()
        if spec is not None:
            spec.events, spec.stacks = str(events), str(stacks)
            (top / "spec").write_text(json.dumps(asdict(spec)))
            command = [*command, str(top / "spec")]
        with output.open("wb") as stream:
            child = subprocess.Popen(
                command,
                cwd=top / "cwd",
                env=environment(str(top / "t")),
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr if show else stream,  # a worker's stdout is not for reading
                stderr=None if show else stream,
                start_new_session=True,
                preexec_fn=_limit_child,  # noqa: PLW1509  # safe: a worker has one thread
            )
        try:
            hung = not _follow(child, events, on_event, patience)
            gathered = _take_stacks(child, stacks) if hung else ""
        finally:
            leftovers = _clean_up(child)
        written = "" if show else _tail(output)
        return Ended(child.returncode, hung, written, gathered, leftovers)


def _limit_child() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    isolate.end_with_parent(signal.SIGKILL)


def _follow(
    child: subprocess.Popen[bytes],
    path: Path,
    on_event: Callable[[dict[str, Any]], None],
    patience: Callable[[], float],
) -> bool:
    """Pass on events until the process ends; False if it stopped reporting."""
    with path.open("rb") as stream:
        unfinished = b""
        deadline = time.monotonic() + patience()
        while True:
            running = child.poll() is None
            *lines, unfinished = (unfinished + stream.read()).split(b"\n")
            for line in lines:
                on_event(json.loads(line))
            if not running:
                return True
            if lines:
                deadline = time.monotonic() + patience()
            elif time.monotonic() > deadline:
                return False
            _reap_orphans(child)
            time.sleep(_LOOK_EVERY)


def _reap_orphans(child: subprocess.Popen[bytes]) -> None:
    """Do what init would do for orphans. Tests wait for the process number to be gone."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid == child.pid:
            return
        os.waitpid(ended.si_pid, 0)


def _take_stacks(child: subprocess.Popen[bytes], path: Path) -> str:
    """Get the stacks of a hung process and of its children.

    First through Python, which knows the parked greenlets, then through faulthandler, which works
    even when no bytecode is run any more. The latter ends the process and writes to its stderr.
    """
    processes = [child.pid, *isolate.descendants(child.pid)]
    listing = "\n".join(isolate.describe(pid) for pid in processes)
    asked = [pid for pid in processes if isolate.catches(pid, STACKS_SIGNAL)]
    for pid in asked:
        _send(pid, STACKS_SIGNAL)
    deadline = time.monotonic() + 3
    while asked and time.monotonic() < deadline and child.poll() is None:
        time.sleep(_LOOK_EVERY)
        if path.exists() and path.read_bytes().count(b"process ") >= len(asked):
            break
    for pid in processes:
        if isolate.catches(pid, signal.SIGABRT):
            _send(pid, signal.SIGABRT)
            try:
                child.wait(1 if pid != child.pid else 5)
            except subprocess.TimeoutExpired:
                pass  # stopped or uninterruptible; it is killed next
    python = path.read_text("utf-8", "replace") if path.exists() else ""
    return f"processes:\n{listing}\nstacks as Python sees them:\n{python or '(no answer)'}"


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it has just ended


def _clean_up(child: subprocess.Popen[bytes]) -> list[str]:
    """Kill the process and all below it; says which others were still running."""
    if child.poll() is None:
        child.kill()
        child.wait()
        named = False
    else:
        named = True
    # Helpers of multiprocessing end by themselves as soon as they see their parent gone.
    deadline = time.monotonic() + 1
    while isolate.descendants(os.getpid()) and named and time.monotonic() < deadline:
        _reap_orphans(child)
        time.sleep(_LOOK_EVERY / 5)
    leftovers = [isolate.describe(pid) for pid in isolate.descendants(os.getpid())]
    while True:
        for pid in isolate.descendants(os.getpid()):
            _send(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return leftovers if named else []


def _tail(path: Path) -> str:
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - _OUTPUT_KEPT))
        return stream.read().decode("utf-8", "backslashreplace")

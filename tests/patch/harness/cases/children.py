"""Children: os.waitpid and its relatives, subprocess, os.system, file locks that others hold."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from typing import TYPE_CHECKING, Any

from tests.patch.harness.tools import LONG, Background, kind, outcome, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds that a child lives which somebody waits for.
LIFE = "0.05"
BIG = 1 << 20


class Made:
    """What exists before patching."""

    ends: subprocess.Popen[bytes]
    talks: subprocess.Popen[str]
    counts: subprocess.Popen[bytes]
    echoes: subprocess.Popen[bytes]


def prepare() -> None:
    script = f"sleep {LIFE}; echo two; sleep {LIFE}; echo three"
    Made.ends = subprocess.Popen(["sh", "-c", f"sleep {LIFE}; exit 7"])
    Made.talks = subprocess.Popen(
        ["sh", "-c", f"echo one; {script}"], stdout=subprocess.PIPE, text=True
    )
    Made.counts = subprocess.Popen(
        ["sh", "-c", f"sleep {LIFE}; wc -c"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    Made.echoes = subprocess.Popen(
        ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )


def finish() -> None:
    for process in (Made.ends, Made.talks, Made.counts, Made.echoes):
        process.kill()
        process.wait()


def forked(life: str = LIFE, status: int = 3) -> int:
    """The number of a child that nobody has an object of."""
    return os.posix_spawn("/bin/sh", ["sh", "-c", f"sleep {life}; exit {status}"], os.environ)


@contextlib.contextmanager
def until_told() -> Iterator[tuple[int, Callable[[], None]]]:
    """The number of a descriptor at which a child can wait, and the function that ends that wait."""
    source, sink = os.pipe()
    with open(source, "rb"), open(sink, "wb", 0) as file:
        yield source, lambda: file.write(b"go on\n") and None


@contextlib.contextmanager
def living() -> Iterator[tuple[int, Callable[[], None]]]:
    """The number of a child that nobody has an object of, and the function that ends it."""
    with until_told() as (source, end):
        actions = [(os.POSIX_SPAWN_DUP2, source, 0)]
        command = ["sh", "-c", "read x; exit 3"]
        yield os.posix_spawn("/bin/sh", command, os.environ, file_actions=actions), end


def status(raw: int) -> int:
    return os.waitstatus_to_exitcode(raw)


# -- waitpid and its relatives


def case_waitpid() -> Any:
    with living() as (pid, end):
        early = os.waitpid(pid, os.WNOHANG)
        ending = Background(lambda: (settle(), end())[1])
        found, raw = os.waitpid(pid, 0)
        ending.result()
    return early, found == pid, status(raw), outcome(os.waitpid, pid, 0)


def case_waitpid_in_a_thread() -> Any:
    with living() as (pid, end):
        waiter = Background(os.waitpid, pid, 0)
        settle()
        end()
        found, raw = waiter.result()
    return found == pid, status(raw)


def case_waitpid_of_one_that_has_ended() -> Any:
    pid = forked("0")
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    found, raw = os.waitpid(pid, 0)
    return found == pid, status(raw)


def case_two_wait_for_one_child() -> Any:
    with living() as (pid, end):
        waiters = [Background(os.waitpid, pid, 0) for _ in range(2)]
        settle()
        end()
    results = [waiter.result() for waiter in waiters]
    return sorted("(0, status)" if isinstance(each, tuple) else each for each in results)


def case_waitpid_of_a_killed_child() -> Any:
    pid = forked("10")
    waiter = Background(os.waitpid, pid, 0)
    settle()
    os.kill(pid, signal.SIGKILL)
    return status(waiter.result()[1])


def case_waitpid_nobody() -> Any:
    return (
        outcome(os.waitpid, os.getpid(), 0),
        outcome(os.waitpid, 1, 0),
        outcome(os.waitpid, -(2**20), 0),
        outcome(os.waitpid, "a", 0),
        outcome(os.waitpid, 1, "a"),
        outcome(os.waitpid, 2**80, 0),
        outcome(os.waitpid, 1, 1 << 20),
        kind(os.waitpid, 1),
    )


def case_stopped_and_continued() -> Any:
    pid = forked("10")
    waiter = Background(os.waitpid, pid, os.WUNTRACED)
    settle()
    os.kill(pid, signal.SIGSTOP)
    stopped = waiter.result()[1]
    waiter = Background(os.waitpid, pid, os.WCONTINUED)
    settle()
    os.kill(pid, signal.SIGCONT)
    continued = waiter.result()[1]
    os.kill(pid, signal.SIGKILL)
    found = os.waitpid(pid, os.WUNTRACED)[1]
    return os.WSTOPSIG(stopped), os.WIFCONTINUED(continued), os.WTERMSIG(found)


def case_wait4() -> Any:
    with living() as (pid, end):
        waiter = Background(os.wait4, pid, 0)
        settle()
        end()
        found, raw, usage = waiter.result()
    return found == pid, status(raw), usage.ru_maxrss > 0, outcome(os.wait4, pid, 0)


def case_waitid() -> Any:
    with living() as (pid, end):
        early = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
        waiter = Background(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        settle()
        end()
        seen = waiter.result()
    found = os.waitid(os.P_PID, pid, os.WEXITED)
    return (
        early,
        seen.si_pid == found.si_pid == pid,
        found.si_status,
        found.si_code == os.CLD_EXITED,
        outcome(os.waitid, os.P_PID, pid, os.WEXITED),
        outcome(os.waitid, os.P_PID, pid, 0),
    )


def case_waitid_of_a_pidfd() -> Any:
    with living() as (pid, end):
        pidfd = os.pidfd_open(pid)
        try:
            waiter = Background(os.waitid, os.P_PIDFD, pidfd, os.WEXITED)
            settle()
            end()
            found = waiter.result()
            return found.si_pid == pid, found.si_status
        finally:
            os.close(pidfd)


def case_waitid_of_a_stopped_child() -> Any:
    pid = forked("10")
    waiter = Background(os.waitid, os.P_PID, pid, os.WSTOPPED)
    settle()
    os.kill(pid, signal.SIGSTOP)
    found = waiter.result()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return found.si_status, found.si_code == os.CLD_STOPPED


def case_any_child_of_a_group() -> Any:
    first, second = (
        os.posix_spawn("/bin/sleep", ["sleep", LIFE], os.environ, setpgroup=0) for _ in range(2)
    )
    waiters = [Background(os.waitpid, -pid, 0) for pid in (first, second)]
    found = [waiter.result()[0] for waiter in waiters]
    third = os.posix_spawn("/bin/sleep", ["sleep", LIFE], os.environ, setpgroup=0)
    waited = os.waitid(os.P_PGID, third, os.WEXITED)
    return found == [first, second], waited.si_pid == third


# -- subprocess


def case_popen_wait() -> Any:
    with (
        until_told() as (source, end),
        subprocess.Popen(["sh", "-c", "read x; exit 5"], stdin=source) as process,
    ):
        waiters = [Background(process.wait) for _ in range(3)]
        early = process.poll()
        settle()
        end()
        return early, [waiter.result() for waiter in waiters], process.returncode


def case_popen_wait_with_timeout() -> Any:
    with subprocess.Popen(["sleep", "10"]) as process:
        first = outcome(process.wait, 0.02)
        process.terminate()
        return first, process.wait(LONG)


def case_communicate_much() -> Any:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        out, err = process.communicate(b"x" * 3 * BIG)
        return len(out), err, process.returncode


def case_communicate_text_and_errors() -> Any:
    with subprocess.Popen(
        ["sh", "-c", "cat; echo wrong >&2; exit 2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        return process.communicate("one\r\ntwo\n"), process.returncode


def case_communicate_with_timeout() -> Any:
    # Before 3.15 what is left of the input when the time is up is never written.
    data = b"x" * BIG if sys.version_info >= (3, 15) else None
    with (
        until_told() as (source, go_on),
        subprocess.Popen(
            ["sh", "-c", f"echo one; read x <&{source}; cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(source,),
        ) as process,
    ):
        first = kind(process.communicate, data, 0.02)
        go_on()
        out, _ = process.communicate(timeout=LONG)
        return first, out[:10], len(out), process.returncode


def case_only_output() -> Any:
    return subprocess.check_output(["sh", "-c", f"echo one; sleep {LIFE}; echo two"])


def case_lines_as_they_come() -> Any:
    script = f"for i in 1 2 3; do echo $i; sleep {LIFE}; done"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        return list(process.stdout)


def case_many_at_once() -> Any:
    def one(number: int) -> tuple[int, int]:
        done = subprocess.run(["sh", "-c", f"sleep {LIFE}; echo {number}"], stdout=-1, check=True)
        return int(done.stdout), done.returncode

    children = [Background(one, number) for number in range(10)]
    return [child.result() for child in children]


def case_no_such_program() -> Any:
    return (
        outcome(subprocess.run, ["/nonexistent/program"], check=False),
        outcome(subprocess.run, ["true"], cwd="/nonexistent", check=False),
        kind(subprocess.run, ["false"], check=True),
        kind(subprocess.run, ["true"], preexec_fn=lambda: 1 / 0, check=False),
    )


def case_preexec() -> Any:
    done = subprocess.run(["pwd"], preexec_fn=lambda: os.chdir("/"), stdout=-1, check=True)
    return done.stdout


def case_the_child_ends_before_it_has_read() -> Any:
    with subprocess.Popen(["true"], stdin=subprocess.PIPE) as process:
        process.communicate(b"x" * BIG)
        return process.returncode


def case_unbuffered() -> Any:
    with subprocess.Popen(["cat"], stdin=-1, stdout=-1, bufsize=0) as process:
        assert process.stdin is not None and process.stdout is not None
        reader = Background(process.stdout.readall)
        written = process.stdin.write(b"x" * BIG)
        process.stdin.close()
        return written, len(reader.result())


# -- subprocess: made before patching


def case_made_before_wait() -> Any:
    waiters = [Background(Made.ends.wait) for _ in range(2)]
    return [waiter.result() for waiter in waiters]


def case_made_before_lines() -> Any:
    assert Made.talks.stdout is not None
    with Made.talks.stdout as stdout:
        return list(stdout), Made.talks.wait()


def case_made_before_communicate() -> Any:
    out, _ = Made.counts.communicate(b"x" * BIG)
    return out, Made.counts.returncode


def case_made_before_unbuffered() -> Any:
    assert Made.echoes.stdin is not None and Made.echoes.stdout is not None
    reader = Background(Made.echoes.stdout.readall)
    written = Made.echoes.stdin.write(b"x" * BIG)
    Made.echoes.stdin.close()
    size = len(reader.result())
    Made.echoes.stdout.close()
    return written, size, Made.echoes.wait()


# -- os.system and os.popen


def case_system() -> Any:
    return (
        status(Background(os.system, f"sleep {LIFE}; exit 3").result()),
        status(os.system("exit 4")),
        status(os.system("kill -9 $$")),
        outcome(os.system, 3),
        os.system(command="true"),
    )


def case_os_popen() -> Any:
    with os.popen(f"sleep {LIFE}; echo hello") as pipe:
        text = pipe.read()
    with os.popen("cat >/dev/null; exit 3", "w") as pipe:
        pipe.write("x" * BIG)
        return text, pipe.close()


def case_spawn_and_wait() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # faulthandler has a thread
        return os.spawnlp(os.P_WAIT, "sh", "sh", "-c", f"sleep {LIFE}; exit 6")


# -- File locks


@contextlib.contextmanager
def locked(how: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A file that a child keeps locked until it is told to end, and the child."""
    script = (
        f"import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.{how}(f, fcntl.LOCK_EX); "
        "print(1, flush=True); sys.stdin.read()"
    )
    with (
        tempfile.NamedTemporaryFile() as file,
        subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", script, file.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        yield file.fileno(), process


def end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def case_flock() -> Any:
    with locked("flock") as (number, process):
        refused = outcome(fcntl.flock, number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        waiter = Background(fcntl.flock, number, fcntl.LOCK_EX)
        settle()
        waits = waiter.is_alive()
        end(process)
        found = waiter.result()
        with open(f"/proc/self/fd/{number}", "rb") as other:
            excluded = outcome(fcntl.flock, other, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(number, fcntl.LOCK_UN)
            return refused, waits, found, excluded, fcntl.flock(other, fcntl.LOCK_SH)


def case_lockf() -> Any:
    with locked("lockf") as (number, process):
        refused = kind(fcntl.lockf, number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        waiter = Background(fcntl.lockf, number, fcntl.LOCK_EX)
        settle()
        waits = waiter.is_alive()
        end(process)
        return refused, waits, waiter.result(), fcntl.lockf(number, fcntl.LOCK_UN)


def case_os_lockf() -> Any:
    with locked("lockf") as (number, process):
        refused = kind(os.lockf, number, os.F_TLOCK, 0)
        waiter = Background(os.lockf, number, os.F_LOCK, 0)
        settle()
        waits = waiter.is_alive()
        end(process)
        return refused, waits, waiter.result(), os.lockf(number, os.F_ULOCK, 0)


def case_two_threads_lock_one_file() -> Any:
    with tempfile.NamedTemporaryFile() as file, open(file.name, "rb") as other:
        fcntl.flock(file, fcntl.LOCK_EX)
        waiter = Background(fcntl.flock, other, fcntl.LOCK_EX)
        settle()
        waits = waiter.is_alive()
        fcntl.flock(file, fcntl.LOCK_UN)
        return waits, waiter.result()


def case_lock_wrong_arguments() -> Any:
    with tempfile.TemporaryFile() as file:
        return (
            outcome(fcntl.flock, "a", fcntl.LOCK_EX),
            outcome(fcntl.flock, file, "a"),
            outcome(fcntl.flock, 10**6, fcntl.LOCK_EX),
            outcome(fcntl.lockf, file, 64),
            outcome(fcntl.lockf, file, fcntl.LOCK_SH),
            kind(fcntl.flock, file),
        )

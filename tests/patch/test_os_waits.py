"""Every wait for a descriptor, a child or a lock stands kill, time-out, signal, close and native threads."""

from __future__ import annotations

import pytest

from tests.isolated import run_ok

#: ``first`` and ``last``: when patching happens. The others take something away from the platform.
VARIANTS = {
    "first": {"WHEN": "first"},
    "last": {"WHEN": "last"},
    "no RWF_NOWAIT": {"WHEN": "first", "WITHOUT": "nowait"},
    "nothing but poll": {"WHEN": "first", "WITHOUT": "nowait twins", "GRAFTLET_POLLER": "poll"},
}

PRELUDE = """
import os
if os.environ["WHEN"] == "first":
    import graftlet
    graftlet.patch_all()
import fcntl, pty, signal, socket, subprocess, sys, tempfile, threading, time, tty
if os.environ["WHEN"] == "last":
    import graftlet
    graftlet.patch_all()

from graftlet.core import _original
from graftlet.core._own_threads import own_threads
from graftlet.io import _os
from graftlet.testing import assert_hub_empty

if "nowait" in os.environ.get("WITHOUT", ""):
    _os._Platform.nowait = 0
if "twins" in os.environ.get("WITHOUT", ""):
    _os._Platform.twins = None

def outcome(function, *args):
    try:
        return function(*args)
    except BaseException as error:
        return type(error).__name__

def until_it_works(function, *args, **kwargs):
    # Native threads take their time, be it to come to where they wait or to let go.
    while True:
        try:
            return function(*args, **kwargs)
        except (OSError, subprocess.CalledProcessError):
            time.sleep(0.01)

def descriptors():
    listed = os.listdir("/proc/self/fd")
    return {name for name in listed if os.path.lexists(f"/proc/self/fd/{name}")}

def clean():
    for _ in range(3):
        graftlet.sleep(0.001)
    assert_hub_empty()

def full_pipe():
    source, sink = os.pipe()
    os.set_blocking(sink, False)
    outcome(os.write, sink, b"x" * 100000)
    outcome(os.write, sink, b"x")
    os.set_blocking(sink, True)
    return source, sink

def terminal():
    master, slave = pty.openpty()
    tty.setraw(slave)
    return master, slave

def locked_file():
    file = tempfile.NamedTemporaryFile()
    process = subprocess.Popen(
        [sys.executable, "-c",
         "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.flock(f, 2); fcntl.lockf(f, 2);"
         "print(1, flush=True); sys.stdin.read()",
         file.name],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    return file, process

graftlet.get_hub()
"""


def script(body: str, variant: str, *arguments: str) -> str:
    return run_ok(PRELUDE + body, *arguments, environment=VARIANTS[variant])


@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_and_timed_out(variant: str) -> None:
    out = script(
        """
source, sink = os.pipe()
full = full_pipe()
master, slave = terminal()
first, second = socket.socketpair()
child = subprocess.Popen(["sleep", "100"], start_new_session=True, stdout=-3, stderr=-3)
file, holder = locked_file()
with tempfile.TemporaryDirectory() as directory:
    path = f"{directory}/fifo"
    os.mkfifo(path)
    waits = [
        lambda: os.read(source, 10),
        lambda: os.readv(source, [bytearray(3)]),
        lambda: os.read(master, 10),
        lambda: os.read(slave, 10),
        lambda: os.read(first.fileno(), 10),
        lambda: os.write(full[1], b"x" * 10),
        lambda: os.write(second.fileno(), b"x" * 10_000_000),
        lambda: os.write(master, b"x" * 10_000_000),
        lambda: os.sendfile(full[1], file.fileno(), 0, 10),
        lambda: os.eventfd_read(event),
        lambda: os.waitpid(child.pid, 0),
        lambda: os.waitpid(child.pid, os.WUNTRACED),
        lambda: os.waitpid(-child.pid, 0),
        lambda: os.wait(),
        lambda: os.waitid(os.P_PID, child.pid, os.WEXITED),
        lambda: child.wait(),
        lambda: child.wait(100),
        lambda: fcntl.flock(file, fcntl.LOCK_EX),
        lambda: fcntl.lockf(file, fcntl.LOCK_EX),
        lambda: open(path).read(),
        lambda: os.open(path, os.O_RDONLY),
    ]
    file.write(b"0123456789")
    file.flush()
    event = os.eventfd(0)
    before = descriptors()
    for number, wait in enumerate(waits):
        def guarded():
            try:
                return wait()
            except graftlet.Timeout as timeout:
                return "timed out"
        waiter = graftlet.spawn(outcome, wait)
        graftlet.sleep(0.003)
        assert not waiter.ready(), number
        waiter.kill()
        assert waiter.get() == "GreenletExit", (number, waiter.get())
        with graftlet.Timeout(0.003, False):
            wait()
            print("did not wait:", number)
        clean()
        left = descriptors() - before
        assert not left, (number, [os.readlink(f"/proc/self/fd/{n}") for n in left])
    # Native threads still wait for the FIFO: they close what they get.
    end = until_it_works(os.open, path, os.O_WRONLY | os.O_NONBLOCK)
    os.close(end)
    while descriptors() != before:  # for ever, if they don't
        time.sleep(0.01)
# Nobody wants the locks any more.
holder.stdin.close()
holder.wait()
with open(file.name, "r+b") as other:
    until_it_works(fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
until_it_works(subprocess.run, [sys.executable, "-c",
    "import fcntl, sys; f = open(sys.argv[1], 'r+'); "
    "sys.exit(fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB))",
    file.name], check=True, stderr=-3)
print("free")
child.kill()
print(child.wait())
holder.stdout.close()
file.close()
first.close()
second.close()
""",
        variant,
    )
    assert out == "free\n-9\n"


@pytest.mark.parametrize("variant", ["first", "last"])
def test_locks_of_two_kinds_have_nothing_to_do_with_each_other(variant: str) -> None:
    """Nobody wants the one any more: that the other is taken meanwhile does not keep it."""
    out = script(
        """
file = tempfile.NamedTemporaryFile()
lock = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, {});"
holder = subprocess.Popen(
    [sys.executable, "-c", lock.format("fcntl.LOCK_EX") + "print(1, flush=True); sys.stdin.read()", file.name],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
holder.stdout.readline()
waiter = graftlet.spawn(fcntl.lockf, file, fcntl.LOCK_EX)
graftlet.sleep(0.01)
waiter.kill(block=True)
with open(file.name, "r+b") as other:
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    holder.communicate()
    while len(sys._current_frames()) > 1:
        time.sleep(0.01)
    lock_or_fail = lock.format("fcntl.LOCK_EX | fcntl.LOCK_NB")
    print(subprocess.run([sys.executable, "-c", lock_or_fail, file.name], stderr=-3).returncode)
file.close()
""",
        variant,
    )
    assert out == "0\n"


@pytest.mark.parametrize("variant", VARIANTS)
def test_closed_meanwhile(variant: str) -> None:
    out = script(
        """
def check(wait, close):
    waiter = graftlet.spawn(outcome, wait)
    graftlet.sleep(0.002)
    close()
    print(waiter.get(timeout=60))
    clean()

for make in (os.pipe, terminal):
    source, sink = make()
    check(lambda: os.read(source, 10), lambda: os.close(source))
    os.close(sink)
source, sink = full_pipe()
check(lambda: os.write(sink, b"x"), lambda: os.close(sink))
os.close(source)
source, sink = os.pipe()
other, another = os.pipe()
check(lambda: os.read(source, 10), lambda: os.dup2(other, source))
check(lambda: os.read(source, 10), lambda: os.closerange(source, source + 1))
for each in (sink, other, another):
    os.close(each)
first, second = socket.socketpair()
check(lambda: os.read(first.fileno(), 10), lambda: os.close(first.detach()))
second.close()
source, sink = os.pipe()
raw = open(source, "rb", 0)
check(lambda: raw.read(10), raw.close)
os.close(sink)
""",
        variant,
    )
    assert out == "OSError\n" * 7


@pytest.mark.parametrize("variant", VARIANTS)
def test_signals(variant: str) -> None:
    out = script(
        """
source, sink = os.pipe()
ends = os.pipe()
child = os.posix_spawn(
    "/bin/sh", ["sh", "-c", "read x"], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, ends[0], 0)]
)
signal.signal(signal.SIGUSR1, lambda number, frame: print("handled"))

def later(function, *args):
    graftlet.spawn_later(0.02, function, *args)

def interrupted(wait):
    later(os.kill, os.getpid(), signal.SIGINT)
    try:
        wait()
    except KeyboardInterrupt:
        print("interrupted")

for wait in (
    lambda: os.read(source, 10), os.wait, lambda: os.waitpid(child, 0), lambda: os.waitpid(child, 2)
):
    interrupted(wait)
clean()
later(os.kill, os.getpid(), signal.SIGUSR1)
graftlet.spawn_later(0.04, os.write, sink, b"data")
print(os.read(source, 10))
later(os.kill, os.getpid(), signal.SIGUSR1)
graftlet.spawn_later(0.04, os.write, ends[1], b"end\\n")
print(os.waitpid(child, 0)[1])
clean()
""",
        variant,
    )
    assert out == "interrupted\n" * 4 + "handled\nb'data'\nhandled\n0\n"


@pytest.mark.parametrize("variant", VARIANTS)
def test_native_threads(variant: str) -> None:
    out = script(
        """
def native(function, *args):
    _original.start_new_thread(function, args)

source, sink = os.pipe()
back, forth = os.pipe()

def answer():
    for _ in range(100):
        os.write(forth, os.read(source, 100).upper())

native(answer)
done = []
for number in range(100):
    os.write(sink, b"%d abc" % number)
    done.append(os.read(back, 100))
print(len(done), done[-1])

# A native thread waits for children, too, and a greenlet for one that it has started.
children = []
native(lambda: children.append(subprocess.run(["sh", "-c", "sleep 0.05; exit 3"]).returncode))
process = subprocess.Popen(["sh", "-c", "sleep 0.05; exit 4"])
print(process.wait())
while not children:
    time.sleep(0.01)
print(children)
clean()

# A file that a native thread reads while greenlets do.
file = open(source, "rb")
lines = []
native(lambda: lines.append(file.readline()))
time.sleep(0.02)
readers = [graftlet.spawn(lambda: lines.append(file.readline())) for _ in range(2)]
graftlet.sleep(0.01)
for line in (b"one\\n", b"two\\n", b"three\\n"):
    os.write(sink, line)
while len(lines) < 3:
    time.sleep(0.01)
print(sorted(lines))
clean()
file.close()
""",
        variant,
    )
    expected = ["100 b'99 ABC'", "4", "[3]", r"[b'one\n', b'three\n', b'two\n']"]
    assert out.splitlines() == expected


@pytest.mark.parametrize("variant", VARIANTS)
def test_others_run_meanwhile(variant: str) -> None:
    """Each of these waits ends only because another greenlet runs."""
    out = script(
        """
def meanwhile(name, other, function, *args):
    runs = graftlet.spawn_later(0.01, other)
    print(name, function(*args))
    runs.get()

source, sink = os.pipe()
meanwhile("read", lambda: os.write(sink, b"x"), os.read, source, 10)
master, slave = terminal()
meanwhile("terminal", lambda: os.write(master, b"x"), os.read, slave, 10)
for name, ends in (("pipe", os.pipe()), ("terminal", terminal())):
    def read():
        size = 1000000
        while size > 0:
            size -= len(os.read(ends[0], 65536))
    meanwhile(f"write to a {name}", read, os.write, ends[1], b"x" * 1000000)
with tempfile.TemporaryDirectory() as directory:
    path = f"{directory}/fifo"
    os.mkfifo(path)
    def let_go():
        with open(path, "w") as fifo:
            fifo.write("go\\n")
    def read():
        with open(path) as fifo:
            return fifo.read()
    meanwhile("FIFO", let_go, read)
    # Children that end when they are told to.
    command = f"read line < {path}; exit 3"
    shell = ["sh", "-c", command]
    meanwhile("system", let_go, lambda: os.waitstatus_to_exitcode(os.system(command)))
    meanwhile("wait", let_go, lambda: os.posix_spawn("/bin/sh", shell, os.environ) and os.wait()[1])
    meanwhile("run", let_go, lambda: subprocess.run(shell).returncode)
    meanwhile("popen", let_go, lambda: os.waitstatus_to_exitcode(os.popen(command).close()))
    much = ["sh", "-c", f"read line < {path}; head -c 1000000 /dev/zero"]
    meanwhile("output", let_go, lambda: len(subprocess.check_output(much)))
    with subprocess.Popen(shell) as process:
        runs = graftlet.spawn_later(0.01, bool)
        print("timeout", outcome(process.wait, 0.05), runs.ready())
        process.kill()
for lock in (fcntl.flock, fcntl.lockf):
    file, holder = locked_file()
    meanwhile(lock.__name__, holder.stdin.close, lock, file, fcntl.LOCK_EX)
    holder.wait()
    holder.stdout.close()
    file.close()
clean()
""",
        variant,
    )
    assert out.splitlines() == [
        "read b'x'",
        "terminal b'x'",
        "write to a pipe 1000000",
        "write to a terminal 1000000",
        "FIFO go",
        "",
        "system 3",
        "wait 768",
        "run 3",
        "popen 3",
        "output 1000000",
        "timeout TimeoutExpired True",
        "flock None",
        "lockf None",
    ]


def test_no_deadlock_is_seen_while_a_child_lives() -> None:
    out = script(
        """
def child():
    return os.posix_spawn("/bin/sleep", ["sleep", "0.05"], os.environ)

for wait in (
    lambda: os.waitpid(child(), 0),
    lambda: child() and os.wait(),
    lambda: child() and os.waitpid(0, 0),
    lambda: child() and os.waitid(os.P_ALL, 0, os.WEXITED),
    lambda: os.system("sleep 0.05"),
):
    wait()
    clean()
print("no deadlock")
""",
        "first",
    )
    assert out == "no deadlock\n"


def test_the_hub_s_own_descriptors_are_out_of_reach() -> None:
    """A daemon that closes all descriptors still runs."""
    out = script(
        """
source, sink = os.pipe()
own = sorted(int(n) for n in descriptors() if "anon" in os.readlink(f"/proc/self/fd/{n}"))
assert len(own) == 2, own
for number in own:
    print(outcome(os.close, number), outcome(os.dup2, 1, number))
for number in range(3, 1000):
    try:
        os.close(number)
    except OSError:
        pass
time.sleep(0.01)
os.closerange(3, 10000)
time.sleep(0.01)
print(subprocess.run(["true"]).returncode)
""",
        "first",
    )
    assert out == "OSError OSError\n" * 2 + "0\n"


def test_the_lowest_descriptors_are_the_program_s() -> None:
    """sd_listen_fds(3): a child's sockets are put at 3, 4 and so on before its program is executed."""
    out = script(
        """
source, sink = os.pipe()
print(source, sink)
def put():
    for number in (3, 5, 6):
        os.dup2(sink, number)
shell = ["sh", "-c", "echo three >&3; echo five >&5; echo six >&6"]
child = subprocess.run(shell, preexec_fn=put, close_fds=False)
print(child.returncode, os.read(source, 100))
""",
        "first",
    )
    assert out == "3 4\n0 b'three\\nfive\\nsix\\n'\n"


def test_where_there_are_no_high_descriptors() -> None:
    out = script(
        """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
def child():
    time.sleep(0.001)  # in a hub of its own
    print(max(map(int, descriptors())) < 40, flush=True)
process = subprocess.run(["true"], preexec_fn=child)
print(process.returncode)
""",
        "first",
    )
    assert out == "True\n0\n"


def test_a_descriptor_keeps_its_mode_for_others_while_a_greenlet_waits() -> None:
    for variant in VARIANTS:
        out = script(
            """
source, sink = full_pipe()
waiters = [graftlet.spawn(outcome, os.write, sink, b"x"), graftlet.spawn(outcome, os.read, 0, 1)]
graftlet.sleep(0.01)
print(os.get_blocking(sink), os.get_blocking(0))
for waiter in waiters:
    waiter.kill()
""",
            variant,
        )
        assert out == "True True\n"


def test_two_processes_read_one_pipe() -> None:
    """Readiness is a hint only: the other one may be faster."""
    for variant in ("first", "no RWF_NOWAIT"):
        out = script(
            """
source, sink = os.pipe()
script = "import os, sys; n = 0\\nwhile os.read(0, 1): n += 1\\nprint(n)"
child = subprocess.Popen([sys.executable, "-c", script], stdin=source, stdout=subprocess.PIPE)
count = 0
ticks = 0
def tick():
    global ticks
    while True:
        time.sleep(0.001)
        ticks += 1
def read():
    global count
    while os.read(source, 1):
        count += 1
reader = graftlet.spawn(read)
ticker = graftlet.spawn(tick)
for _ in range(300):
    os.write(sink, b"x")
    time.sleep(0.001)
before = ticks
time.sleep(1)  # whoever has lost the race waits all this time
moved = ticks - before
os.close(sink)
reader.join()
print(count + int(child.communicate()[0]), moved > 0)
ticker.kill()
""",
            variant,
        )
        assert out == "300 True\n"

"""multiprocessing between processes and greenlets: as on real threads, and nobody stands still meanwhile.

Each program runs under plain Python, patched first and patched last (after all imports, and after its locks
exist), with every way of starting processes. All three must print the same; what is true of greenlets only,
a program asserts itself.
"""

from __future__ import annotations

import multiprocessing
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import isolated

METHODS = ("fork", "spawn", "forkserver")
MODES = ("plain", "first", "last")

pytestmark = pytest.mark.slow  # processes are started, most of them interpreters

#: Before every program. ``mode`` and ``context`` are known to it; ``old`` exists before patching.
PROLOGUE = """
import sys
method, mode = sys.argv[1:3]
LONGEST_BLOCK = 0.3  # seconds, and what it takes to begin the processes

def patch():
    import graftlet
    from graftlet.testing._clock import WatchingPoller
    graftlet.patch_all()

    class Poller(WatchingPoller):
        # Native threads of before patching may wait for a processor with the GIL in their hands.
        def poll(self, timeout):
            events = super().poll(timeout)
            self.waited = waiting()
            return events

        def _note(self, before):
            longest = self.longest
            super()._note(before)
            now = waiting()
            excused = sum(now[each] - self.waited.get(each, 0) for each in now)
            self.longest = max(longest, self.longest - excused)

    hub = graftlet.get_hub()
    hub.poller = Poller(hub)
    return hub

def waiting():
    found = {}
    for number in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{number}/schedstat", "rb") as file:
                found[number] = int(file.read().split()[1]) / 1e9
        except OSError:
            pass  # it has ended
    return found

hub = patch() if mode == "first" else None
import multiprocessing, os, queue, signal, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads
context = multiprocessing.get_context(method)
LONG = 60
beginning = 0.0

def begins(real):
    # Fork and exec keep everybody waiting. How long depends on the machine and on who else is there.
    def begin(*args):
        global beginning
        began = time.monotonic()
        try:
            return real(*args)
        finally:
            beginning += time.monotonic() - began
    return begin

import multiprocessing.util
multiprocessing.process.BaseProcess.start = begins(multiprocessing.process.BaseProcess.start)
# How the processes that keep the books and the fork server are begun.
multiprocessing.util.spawnv_passfds = begins(multiprocessing.util.spawnv_passfds)

def settle():
    '''Wait until all other native threads wait: none has run between two looks.'''
    before = None
    while True:
        now = {}
        for number in os.listdir("/proc/self/task"):
            try:
                with open(f"/proc/self/task/{number}/status") as file:
                    now[number] = [line for line in file if "State" in line or "ctxt" in line]
            except OSError:
                pass  # it has ended
        del now[os.path.basename(os.readlink("/proc/thread-self"))]
        if now == before and all("\\tS" in state for state, *_ in now.values()):
            return
        before = now
        time.sleep(0.001)

class Watch:
    '''Nobody stands still for long, if threads are greenlets.'''
    def __enter__(self):
        self.over = threading.Event()
        # The others, whom somebody might keep from running.
        self.thread = threading.Thread(target=self.over.wait)
        if mode != "plain":
            self.thread.start()
    def __exit__(self, *exc_info):
        self.over.set()
        if mode != "plain":
            self.thread.join()
            longest = hub.poller.longest
            assert longest < LONGEST_BLOCK + beginning, (longest, beginning, hub.poller.culprit)

def on_threads(*functions):
    '''What each of them returns, called in a thread of its own.'''
    results = [None] * len(functions)
    def call(number, function):
        results[number] = function()
    threads = [
        threading.Thread(target=call, args=each) for each in enumerate(functions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results

def started(target, *args):
    process = context.Process(target=target, args=args)
    process.start()
    return process
"""

EPILOGUE = """
if __name__ == "__main__":
    old = prepare() if "prepare" in globals() else None
    if mode == "last":
        hub = patch()
    with Watch():
        main()
"""


def outcomes(program: str, method: str) -> dict[str, isolated.Outcome]:
    """How the program ended in each mode; all of them run at the same time."""
    script = PROLOGUE + textwrap.dedent(program) + EPILOGUE
    with ThreadPoolExecutor(len(MODES)) as pool:
        ended = pool.map(lambda mode: isolated.run(script, method, mode), MODES)
        return dict(zip(MODES, ended, strict=True))


def check(program: str, method: str) -> None:
    """The program says and does the same in every mode, and complains in none."""
    found = outcomes(program, method)
    expected = isolated.Outcome(0, found["plain"].out, "")
    for mode, ended in found.items():
        assert ended == expected, (
            f"{mode}: status {ended.status}\n{ended.out}\n{ended.err}\nplain:\n{expected.out}"
        )


methods = pytest.mark.parametrize(
    "method", [each for each in METHODS if each in multiprocessing.get_all_start_methods()]
)


@methods
def test_a_child_runs_under_graftlet(method: str) -> None:
    check(
        """
        def child(answers):
            before = len(os.listdir("/proc/self/task"))
            threads = [threading.Thread(target=time.sleep, args=(0.1,)) for _ in range(5)]
            for thread in threads:
                thread.start()
            more = len(os.listdir("/proc/self/task")) - before
            for thread in threads:
                thread.join()
            answers.send((more > 0) == (mode == "plain"))
        def grandchild(answers):
            process = started(child, answers)
            process.join(LONG)
        def main():
            ours, theirs = context.Pipe(duplex=False)
            for function in (child, grandchild):
                process = started(function, theirs)
                print(ours.poll(LONG) and ours.recv())
                process.join(LONG)
                print(process.exitcode)
        """,
        method,
    )


@methods
def test_processes_are_joined_and_end(method: str) -> None:
    check(
        """
        def leave(status):
            sys.exit(status)
        def main():
            process = started(leave, 3)
            # Of a fork server's child the status can be read once, and two who wait for it race.
            others = [process.join, process.join] if method != "forkserver" else []
            on_threads(*others, lambda: process.join(LONG))
            print(process.exitcode, process.is_alive())
            process = started(time.sleep, LONG)
            print(on_threads(lambda: process.join(0.05)), process.is_alive())
            process.terminate()
            process.join(LONG)
            print(process.exitcode, multiprocessing.active_children())
            process = started(time.sleep, LONG)
            print(len(multiprocessing.connection.wait([process.sentinel], 0.05)))
            process.kill()
            print(len(multiprocessing.connection.wait([process.sentinel], LONG)))
            process.join(LONG)
            print(process.exitcode)
        """,
        method,
    )


@methods
def test_queues(method: str) -> None:
    check(
        """
        def double(requests, answers):
            for number in iter(requests.get, None):
                answers.put(2 * number)
            answers.put("end")
        def empty(numbers, timeout):
            began = time.monotonic()
            try:
                return numbers.get(timeout=timeout)
            except queue.Empty:
                return 0 <= time.monotonic() - began - timeout < LONG
        def full(numbers):
            try:
                numbers.put(1, timeout=0.05)
            except queue.Full:
                return "full"
        def prepare():
            return context.Queue(), context.Queue(2)
        def main():
            requests, bounded = old
            answers = context.Queue()
            process = started(double, requests, answers)
            print(on_threads(*[lambda t=t: empty(answers, t / 50) for t in range(1, 6)]))
            for number in range(100):
                requests.put(number)
            got = on_threads(*[lambda: [answers.get(timeout=LONG) for _ in range(20)]] * 5)
            print(sorted(sum(got, [])) == list(range(0, 200, 2)))
            requests.put(None)
            print(answers.get(timeout=LONG))
            process.join(LONG)
            bounded.put(1), bounded.put(2)
            print(on_threads(*[lambda: full(bounded)] * 3), bounded.qsize(), bounded.full())
            print(on_threads(bounded.get, lambda: bounded.put(3), bounded.get, bounded.get))
            simple = context.SimpleQueue()
            print(on_threads(simple.get, lambda: simple.put("x")))
            joinable = context.JoinableQueue()
            joinable.put(1)
            print(on_threads(joinable.join, lambda: (joinable.get(), joinable.task_done())[0]))
            for each in (requests, answers, bounded, joinable):
                each.close()
                each.join_thread()
        """,
        method,
    )


@methods
def test_pipes(method: str) -> None:
    check(
        """
        def echo(end):
            while (message := end.recv()) is not None:
                end.send(message)
            end.close()
        def main():
            ours, theirs = context.Pipe()
            process = started(echo, theirs)
            theirs.close()
            print(on_threads(lambda: ours.poll(0.05), lambda: ours.poll(0)))
            big = "x" * 1_000_000
            print(on_threads(lambda: ours.send(big), lambda: ours.recv() == big))
            ours.send(None)
            try:
                ours.recv()
            except EOFError:
                print("end of file")
            process.join(LONG)
            print(process.exitcode)
        """,
        method,
    )


@methods
def test_locks(method: str) -> None:
    check(
        """
        def hold(lock, held, let_go):
            with lock:
                held.set()
                let_go.wait(LONG)
        def add(value, times):
            for _ in range(times):
                with value.get_lock():
                    value.value += 1
        def prepare():
            return context.Lock(), context.RLock(), context.Value("i", 0), context.Semaphore(2)
        def main():
            lock, rlock, value, semaphore = old
            for each in (lock, rlock):
                held, let_go = context.Event(), context.Event()
                process = started(hold, each, held, let_go)
                print(held.wait(LONG), each.acquire(False), repr(each))
                print(on_threads(*[lambda: each.acquire(timeout=0.05)] * 5))
                threading.Timer(0.05, let_go.set).start()
                def take():
                    with each:
                        return "took it"
                print(on_threads(*[take] * 5))
                process.join(LONG)
                print(repr(each))
            with rlock, rlock:
                print(rlock, on_threads(lambda: rlock.acquire(False), lambda: repr(rlock)))
            def foreign():
                try:
                    rlock.release()
                except AssertionError as error:
                    return str(error)
            print(foreign(), on_threads(foreign))
            try:
                lock.release()
            except ValueError as error:
                print(error)
            processes = [started(add, value, 200) for _ in range(2)]
            on_threads(*[lambda: add(value, 200)] * 3)
            for process in processes:
                process.join(LONG)
            print(value.value)
            print(on_threads(*[lambda: semaphore.acquire(timeout=0.05)] * 3).count(True))
            print(semaphore.get_value(), semaphore)
            threading.Timer(0.02, semaphore.release).start()
            print(semaphore.acquire(), semaphore.acquire(timeout=-1), semaphore.acquire(timeout=0))
            for arguments in ((True, "soon"), (False, "soon")):
                try:
                    semaphore.acquire(*arguments)
                except TypeError as error:
                    print(error)
        """,
        method,
    )


@methods
def test_conditions_events_and_barriers(method: str) -> None:
    check(
        """
        def wait_all(condition, ready, woken, barrier):
            def one():
                with condition:
                    ready.release()
                    condition.wait(LONG)
                woken.release()
            on_threads(one, one)
            barrier.wait(LONG)
        def main():
            condition, barrier, event = context.Condition(), context.Barrier(3), context.Event()
            ready, woken = context.Semaphore(0), context.Semaphore(0)
            arguments = (condition, ready, woken, barrier)
            processes = [started(wait_all, *arguments) for _ in range(2)]
            for _ in range(4):
                ready.acquire()
            with condition:
                condition.notify()
            print(woken.acquire(timeout=LONG), woken.acquire(timeout=0.05))
            with condition:
                condition.notify_all()
            print([woken.acquire(timeout=LONG) for _ in range(3)])
            barrier.wait(LONG)
            for process in processes:
                process.join(LONG)
            print(condition, barrier.broken)
            with condition:
                print(condition.wait(0.02), condition.wait_for(lambda: False, 0.02))
            for _ in range(20):  # time-outs that race with notifications lose nothing
                def wait():
                    with condition:
                        condition.wait(0.01)
                def notify():
                    time.sleep(0.01)
                    with condition:
                        condition.notify_all()
                on_threads(wait, wait, notify)
            late = threading.Event()
            print(on_threads(
                event.wait,
                lambda: [event.wait(0.01), late.set()][0],
                lambda: late.wait() and event.set(),
            ))
        """,
        method,
    )


@methods
def test_pools(method: str) -> None:
    check(
        """
        def square(number):
            return number * number
        def fail(number):
            raise LookupError(number)
        def keep(gate):
            square.gate = gate
        def wait():
            return square.gate.wait(LONG)
        def main():
            gate = context.Event()
            with context.Pool(2, keep, (gate,)) as pool:
                print(pool.map(square, range(20)), list(pool.imap(square, range(20), 3)))
                print(sorted(pool.imap_unordered(square, range(20))))
                print(on_threads(*[lambda: pool.apply(square, (7,))] * 5))
                result = pool.apply_async(fail, (1,))
                try:
                    result.get(LONG)
                except LookupError as error:
                    print(repr(error), result.successful())
                slow = pool.apply_async(wait)
                try:
                    slow.get(0.01)
                except multiprocessing.TimeoutError:
                    print("too late")
                gate.set()
                print(slow.get(LONG))
                print(pool.starmap_async(pow, [(2, 3), (3, 2)]).get(LONG))
                pool.close()
                pool.join()
            with multiprocessing.pool.ThreadPool(3) as pool:
                print(pool.map(square, range(10)))
        """,
        method,
    )


@methods
def test_managers(method: str) -> None:
    check(
        """
        def change(numbers, names, items, lock):
            with lock:
                numbers.append(3)
                names["c"] = 3
            items.put("from the child")
        def main():
            with context.Manager() as manager:
                numbers, names = manager.list([1, 2]), manager.dict(a=1)
                items, lock, event = manager.Queue(), manager.Lock(), manager.Event()
                lock.acquire()
                process = started(change, numbers, names, items, lock)
                def release():
                    time.sleep(0.05)
                    event.set()
                print(on_threads(lambda: event.wait(LONG), release))
                lock.release()
                print(items.get(timeout=LONG))
                process.join(LONG)
                print(list(numbers), dict(names), process.exitcode)
                print(on_threads(*[lambda: items.put(1) or items.get(timeout=LONG)] * 4))
        """,
        method,
    )


def test_a_thread_s_signal_mask_is_its_own_and_no_child_s() -> None:
    # multiprocessing.resource_sharer's thread blocks all signals: children that can't be terminated.
    check(
        """
        def main():
            def block_all():
                every = signal.valid_signals()
                said = [signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})]
                said.append(signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1}))
                said.append(signal.pthread_sigmask(signal.SIG_BLOCK, every))
                said.append(signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR1}))
                for arguments in ((99, ()), (signal.SIG_BLOCK, (0,)), (signal.SIG_BLOCK, ("x",))):
                    try:
                        signal.pthread_sigmask(*arguments)
                    except (OSError, TypeError, ValueError) as error:
                        said.append(type(error).__name__)
                signal.pthread_sigmask(signal.SIG_BLOCK, every)
                return said
            print(on_threads(block_all), signal.pthread_sigmask(signal.SIG_BLOCK, ()))
            process = started(time.sleep, LONG)
            process.terminate()
            process.join(LONG)
            print(process.exitcode)
        """,
        "fork",
    )


SEMAPHORES = """
import graftlet
graftlet.patch_all()
import multiprocessing, os, threading, time
context = multiprocessing.get_context("fork")

def native_threads():
    return len(os.listdir("/proc/self/task"))
"""


def test_a_killed_or_timed_out_greenlet_takes_no_semaphore_along() -> None:
    out = isolated.run_ok(
        SEMAPHORES
        + """
for make in (context.Lock, context.RLock, lambda: context.Semaphore(1)):
    lock = make()
    lock.acquire()
    waiting = [graftlet.spawn(lock.acquire) for _ in range(5)]
    graftlet.sleep(0.05)
    for each in waiting[:3]:
        each.kill()
    print(graftlet.spawn(lock.acquire, True, 0.02).get())
    graftlet.killall(waiting)
    lock.release()
    # The native threads are left to themselves, and give the lock back.
    while native_threads() > 1:
        graftlet.sleep(0.01)
    taker = graftlet.spawn(lock.acquire, True, 10)
    print(taker.get(), graftlet.spawn(lock.acquire, False).get())
"""
    )
    assert out == 3 * "False\nTrue False\n"


def test_a_native_thread_whose_greenlet_has_left_ends() -> None:
    out = isolated.run_ok(
        SEMAPHORES
        + """
lock = context.Lock()
lock.acquire()
waiting = graftlet.spawn(lock.acquire)
graftlet.sleep(0.05)
print(native_threads())
waiting.kill()
while native_threads() > 1:
    graftlet.sleep(0.05)
print("it has ended")
"""
    )
    assert out == "2\nit has ended\n"


def test_many_greenlets_wait_with_one_native_thread() -> None:
    out = isolated.run_ok(
        SEMAPHORES
        + """
lock = context.Lock()
lock.acquire()
def take():
    with lock:
        pass
threads = [threading.Thread(target=take) for _ in range(200)]
for thread in threads:
    thread.start()
time.sleep(0.05)
print(native_threads())
lock.release()
for thread in threads:
    thread.join()
print(lock)
"""
    )
    assert out == "2\n<Lock(owner=None)>\n"


def test_a_recursive_lock_of_before_patching_belongs_to_its_greenlet() -> None:
    out = isolated.run_ok(
        """
        import multiprocessing
        context = multiprocessing.get_context("fork")
        held, free = context.RLock(), context.RLock()
        held.acquire(), held.acquire()
        import graftlet
        print(len(graftlet.patch_all().unreached))
        import threading, time
        go_on = threading.Event()
        print(held._semlock._count(), held._semlock._is_mine(), held._semlock._get_value())
        def other():
            print(held.acquire(False), free.acquire(), free.acquire())
            go_on.wait()
            free.release(), free.release()
            with held:
                print("had it")
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.01)
        print(free.acquire(timeout=0.01), go_on.set(), free.acquire(timeout=60))
        held.release(), held.release()
        thread.join()
        free.release()
        print(held, free)
        free.acquire(), free.acquire()
        graftlet.unpatch_all()
        print(free._semlock._count(), type(free._semlock).__module__)
        free.release(), free.release()
        print(free._semlock._get_value())
        """
    )
    assert out == (
        "0\n2 True 0\nFalse True True\nFalse None True\nhad it\n"
        "<RLock(None, 0)> <RLock(None, 0)>\n2 _multiprocessing\n1\n"
    )


def test_a_fork_server_of_before_is_left_to_its_children() -> None:
    out = isolated.run_ok(
        """
        import multiprocessing, os, sys, time
        context = multiprocessing.get_context("forkserver")
        def child():
            import graftlet
            print(graftlet.is_patched("time"), flush=True)
        def leave(go):
            go.recv()
            sys.exit(5)
        if __name__ == "__main__":
            import graftlet
            def run():
                process = context.Process(target=child)
                process.start()
                process.join()
            ours, theirs = context.Pipe()
            before = context.Process(target=leave, args=(theirs,))
            before.start()
            run()
            with graftlet.patched():
                run()
                ours.send("go")
                before.join()
                print(before.exitcode)
                run()
            run()
            ours.close(), theirs.close()
        """
    )
    assert out == "False\nTrue\n5\nTrue\nFalse\n"


def test_switched_off_children_are_plain() -> None:
    out = isolated.run_ok(
        """
        import multiprocessing, os, sys
        def child():
            print("graftlet" in sys.modules, flush=True)
        if __name__ == "__main__":
            import graftlet
            graftlet.patch_all()
            for switched in ("1", "0"):
                os.environ["GRAFTLET"] = switched
                process = multiprocessing.get_context("spawn").Process(target=child)
                process.start()
                process.join()
        """
    )
    assert out == "True\nFalse\n"


def test_only_the_same_groups_are_patched_in_children() -> None:
    out = isolated.run_ok(
        """
        import multiprocessing, os, sys
        def child():
            import graftlet
            print(graftlet.is_patched("time"), graftlet.is_patched("socket"), flush=True)
        if __name__ == "__main__":
            import graftlet
            graftlet.patch_all(socket=False, ssl=False)
            process = multiprocessing.get_context("spawn").Process(target=child)
            process.start()
            process.join()
        """
    )
    assert out == "True False\n"


def test_multiprocessing_is_not_imported_by_patching() -> None:
    out = isolated.run_ok(
        """
        import graftlet, sys
        graftlet.patch_all()
        print("multiprocessing" in sys.modules)
        """
    )
    assert out == "False\n"


def test_a_forked_child_sleeps_though_its_parent_had_a_deadline() -> None:
    out = isolated.run_ok(
        """
        import graftlet
        graftlet.patch_all()
        import os, time
        from graftlet.event import Event
        event = Event()
        graftlet.spawn(event.set)
        event.wait(30)  # leaves an entry in the parent's heap of deadlines
        pid = os.fork()
        if pid == 0:
            time.sleep(0.05)
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    )
    assert out == "7\n"

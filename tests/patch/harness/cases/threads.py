"""threading and _thread."""

from __future__ import annotations

import _thread
import copy
import functools
import gc
import io
import logging
import pickle
import queue
import sys
import threading
import time
import warnings
import weakref
from _thread import allocate_lock as old_allocate_lock
from _thread import start_new_thread as old_start_new_thread
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from threading import Lock as OldLock
from threading import current_thread as old_current_thread
from threading import get_ident as old_get_ident
from types import SimpleNamespace
from typing import Any

from tests.patch.harness.tools import LONG, SHORT, Background, kind, outcome, settle, until

old = SimpleNamespace()

FREE = threading.Lock()
HELD = threading.Lock()
HELD.acquire()
RLOCK = threading.RLock()
HELD_RLOCK = threading.RLock()
HELD_RLOCK.acquire()
HELD_RLOCK.acquire()
CONDITION = threading.Condition()
CONDITION_ON_LOCK = threading.Condition(FREE)
EVENT = threading.Event()
SET_EVENT = threading.Event()
SET_EVENT.set()
SEMAPHORE = threading.Semaphore(2)
EMPTY_SEMAPHORE = threading.BoundedSemaphore(1)
EMPTY_SEMAPHORE.acquire()
BARRIER = threading.Barrier(2)
LOCAL = threading.local()
LOCAL.value = "main's"
IN_A_LIST = [threading.Lock(), threading.Lock()]
IN_A_DICT = {"lock": threading.Lock()}
IN_A_TUPLE = (threading.Lock(),)
ACQUIRE = HELD.acquire
RELEASE = HELD.release
PARTIAL = functools.partial(FREE.acquire, timeout=SHORT)


class Holder:
    """Keeps locks in all the places that a class can."""

    lock = threading.Lock()
    condition = threading.Condition(threading.RLock())
    make = threading.Lock
    rmake = staticmethod(threading.RLock)
    start = staticmethod(_thread.start_new_thread)

    __slots__ = ("mine",)

    def __init__(self, make: Any = threading.Lock, *, lock: Any = FREE) -> None:
        self.mine = make()

    def default(self, lock: Any = HELD) -> Any:
        return lock.acquire(timeout=SHORT)


class OldThread(threading.Thread):
    """Defined before patching, in mode ``last``."""

    def __init__(self) -> None:
        super().__init__(name="made before")
        self.go_on = threading.Event()

    def run(self) -> None:
        self.go_on.wait()
        self.ran = True


class OldLocal(threading.local):
    """Defined before patching, in mode ``last``."""

    def __init__(self, start: int) -> None:
        self.count = start


def closure() -> Any:
    lock = threading.Lock()
    lock.acquire()

    def free() -> None:
        lock.release()

    def wait() -> bool:
        return lock.acquire(timeout=LONG)

    return wait, free


def prepare() -> None:
    old.holder = Holder()
    old.local = OldLocal(5)
    old.local.count = 6
    old.thread = OldThread()
    old.timer = threading.Timer(SHORT, EVENT.is_set)
    old.wait, old.free = closure()
    old.ident = threading.get_ident()
    old.main = threading.main_thread()


def held(lock: Any) -> bool:
    """Whether another thread finds the lock taken."""

    def attempt() -> bool:
        if lock.acquire(False):
            lock.release()
            return False
        return True

    return bool(Background(attempt).result())


def contend(lock: Any) -> Any:
    """One thread holds the lock, another waits for it."""
    events = []

    def hold() -> None:
        with lock:
            events.append("held")
            settle()
            events.append("released")

    def want() -> None:
        with lock:
            events.append("got")

    threads = [Background(hold)]
    until(lambda: events)
    threads.append(Background(want))
    return [[thread.result() for thread in threads], events, held(lock)]


# -- What existed before


def case_old_locks() -> Any:
    got: list[Any] = [
        contend(FREE),
        contend(RLOCK),
        held(HELD),
        held(HELD_RLOCK),
        held(EMPTY_SEMAPHORE),
    ]
    got += [HELD.locked(), FREE.locked()]
    waiter = Background(HELD.acquire)
    settle()
    HELD.release()
    got += [waiter.result(), HELD.locked()]
    HELD.release()
    waiter = Background(HELD_RLOCK.acquire, timeout=LONG)
    settle()
    HELD_RLOCK.release()
    settle()
    got.append(waiter.is_alive())
    HELD_RLOCK.release()
    got += [waiter.result(), kind(HELD_RLOCK.release)]
    return got


def case_old_bound_methods() -> Any:
    got: list[Any] = [ACQUIRE(False) or HELD.locked(), Background(ACQUIRE, timeout=SHORT).result()]
    waiter = Background(ACQUIRE)
    settle()
    RELEASE()
    got.append(waiter.result())
    RELEASE()
    got += [HELD.locked(), PARTIAL(), Background(PARTIAL).result()]
    FREE.release()
    return got


def case_old_conditions() -> Any:
    got: list[Any] = []
    for condition in (CONDITION, CONDITION_ON_LOCK, Holder.condition):

        def wait(condition: Any = condition) -> Any:
            with condition:
                return condition.wait(LONG)

        waiters = [Background(wait) for _ in range(2)]
        settle()
        with condition:
            condition.notify_all()
        got.append([waiter.result() for waiter in waiters])
        with condition:
            got.append(condition.wait(SHORT))
    return got


def case_old_events() -> Any:
    waiters = [Background(EVENT.wait), Background(EVENT.wait, LONG)]
    settle()
    EVENT.set()
    got: list[Any] = [waiter.result() for waiter in waiters]
    EVENT.clear()
    return [*got, SET_EVENT.wait(), EVENT.wait(SHORT)]


def case_old_semaphores() -> Any:
    got: list[Any] = [SEMAPHORE.acquire(), SEMAPHORE.acquire(), SEMAPHORE.acquire(timeout=SHORT)]
    waiter = Background(SEMAPHORE.acquire)
    other = Background(EMPTY_SEMAPHORE.acquire)
    settle()
    SEMAPHORE.release()
    EMPTY_SEMAPHORE.release()
    got += [waiter.result(), other.result()]
    SEMAPHORE.release(2)
    EMPTY_SEMAPHORE.release()
    return [*got, kind(EMPTY_SEMAPHORE.release)]


def case_old_barrier() -> Any:
    waiter = Background(BARRIER.wait)
    settle()
    return sorted([BARRIER.wait(), waiter.result()])


def case_old_locals() -> Any:
    def seen() -> Any:
        return [hasattr(LOCAL, "value"), old.local.count]

    return [seen(), Background(seen).result(), type(old.local) is OldLocal, LOCAL.value]


def case_old_locks_in_all_places() -> Any:
    holder = old.holder
    got = [
        contend(lock)
        for lock in (*IN_A_LIST, IN_A_DICT["lock"], IN_A_TUPLE[0], Holder.lock, holder.mine)
    ]
    made = [
        Holder.make(),
        holder.make(),
        Holder.rmake(),
        OldLock(),
        old_allocate_lock(),
        Holder().mine,
    ]
    got += [contend(lock) for lock in made]
    return got


def case_old_defaults() -> Any:
    taken = HELD.acquire(False)
    got = [Background(old.holder.default).result()]
    if taken:
        HELD.release()
    waiter = Background(old.wait)
    settle()
    old.free()
    return [*got, waiter.result()]


def case_old_functions() -> Any:
    events: list[Any] = []
    old_start_new_thread(events.append, (1,))
    Holder.start(events.append, (2,))
    until(lambda: len(events) == 2)
    settle()
    here = old_get_ident() == threading.get_ident() == old.ident
    there = Background(old_get_ident)
    return [sorted(events), here, there.result() == there.ident, old_current_thread() is old.main]


def case_old_threads() -> Any:
    thread = old.thread
    got: list[Any] = [repr(thread), thread.is_alive(), kind(thread.join)]
    thread.start()
    got += [thread.is_alive(), thread in threading.enumerate()]
    thread.go_on.set()
    thread.join()
    got += [thread.ran, thread.is_alive(), thread.name]
    old.timer.start()
    old.timer.join()
    return [*got, old.timer.finished.is_set()]


def case_old_locks_with_native_holders() -> Any:
    logger = logging.getLogger("graft.test")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    logger.propagate = False
    handler.acquire()
    writer = Background(logger.warning, "text")
    settle()
    before = stream.getvalue()
    handler.release()
    got = [before, writer.result(), stream.getvalue()]
    logger.removeHandler(handler)
    with ThreadPoolExecutor(2) as pool:
        got.append(list(pool.map(str, range(5))))
    return got


# -- Threads


def case_names_and_numbers() -> Any:
    seen: list[Any] = []

    def look() -> None:
        me = threading.current_thread()
        seen.append(
            [
                me.name,
                me.daemon,
                me.is_alive(),
                me.ident == threading.get_ident(),
                me in threading.enumerate(),
            ]
        )
        seen.append([threading.active_count(), me.native_id == threading.get_native_id()])

    first = threading.Thread(target=look, name="first")
    second = threading.Thread(target=look, name="second", daemon=True)
    got: list[Any] = [first.ident, first.native_id, first.is_alive(), first.daemon, second.daemon]
    for thread in (first, second):
        thread.start()
        thread.join()
    got += [seen, first.is_alive(), first.ident is not None, first.ident != threading.get_ident()]
    got.append(repr(first).replace(str(first.ident), "ident"))
    counter = threading.Thread(target=look)
    got.append([counter.name.startswith("Thread-"), counter.name.endswith(" (look)")])
    counter.name = "new name"
    got += [counter.name, kind(setattr, first, "daemon", True), kind(threading.Thread, 1)]
    return got


def case_idents_are_unique() -> Any:
    go = threading.Event()
    idents: list[int] = []

    def note() -> None:
        idents.append(threading.get_ident())
        go.wait(LONG)

    threads = [threading.Thread(target=note) for _ in range(30)]
    for thread in threads:
        thread.start()
    settle()
    alive = threading.active_count()
    go.set()
    for thread in threads:
        thread.join()
    return [
        len(set(idents)),
        threading.get_ident() in idents,
        alive,
        sorted(idents) == sorted(thread.ident or 0 for thread in threads),
        all(isinstance(ident, int) for ident in idents),
    ]


def case_join() -> Any:
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait)
    got: list[Any] = [kind(thread.join)]
    thread.start()
    got += [
        thread.join(0),
        thread.is_alive(),
        thread.join(SHORT / 4),
        thread.is_alive(),
        thread.join(-1),
        thread.is_alive(),
    ]
    others = [
        Background(thread.join),
        Background(thread.join, LONG),
        Background(thread.join, SHORT / 4),
    ]
    got.append(others[-1].result())
    others.append(Background(lambda: (settle(), go_on.set())[1]))
    got += [thread.join(), thread.is_alive(), [other.result() for other in others]]
    got += [thread.join(), thread.join(1), kind(thread.start)]
    got += [kind(threading.current_thread().join), kind(thread.join, "x")]
    return [*got, Background(lambda: threading.current_thread().join()).result()]


def case_start_order_and_nested_starts() -> Any:
    events: list[Any] = []

    def child(number: int, depth: int) -> None:
        events.append((number, depth))
        if depth < 4:
            threads = [threading.Thread(target=child, args=(number, depth + 1)) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    threads = [threading.Thread(target=child, args=(number, 0)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(events)


def case_subclass() -> Any:
    class Custom(threading.Thread):
        def __init__(self) -> None:
            super().__init__(name="custom", daemon=True)
            self.events = ["init"]

        def run(self) -> None:
            self.events.append("run")
            super().run()

        def start(self) -> None:
            self.events.append("start")
            super().start()

        def join(self, timeout: float | None = None) -> None:
            self.events.append("join")
            super().join(timeout)

    thread = Custom()
    thread.start()
    thread.join()
    forgetful = type("Forgetful", (threading.Thread,), {"__init__": lambda self: None})()
    return [
        thread.events,
        kind(forgetful.start),
        isinstance(thread, threading.Thread),
        type(thread).__mro__[1].__module__,
    ]


def case_thread_gives_up_what_it_was_called_with() -> Any:
    class Argument:
        pass

    argument = Argument()
    alive = weakref.ref(argument)
    thread = threading.Thread(target=lambda it: None, args=(argument,))
    del argument
    thread.start()
    thread.join()
    gc.collect()
    again = weakref.ref(thread)
    got = [alive() is None]
    del thread
    gc.collect()
    return [*got, again() is None]


def case_result_is_free_at_once() -> Any:
    class Thing:
        pass

    def work() -> None:
        thing = Thing()
        gone.append(weakref.ref(thing))

    gone: list[Any] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return gone[0]() is None


def case_excepthook() -> Any:
    seen: list[Any] = []

    def hook(args: Any) -> None:
        seen.append(
            [
                args.exc_type.__name__,
                str(args.exc_value),
                args.thread.name,
                args.exc_traceback is not None,
            ]
        )

    def fail(error: BaseException) -> None:
        raise error

    before = threading.excepthook
    threading.excepthook = hook
    try:
        for error in (
            ValueError("one"),
            SystemExit(3),
            KeyboardInterrupt("two"),
            BaseException("three"),
        ):
            thread = threading.Thread(target=fail, args=(error,), name="failing")
            thread.start()
            thread.join()
            seen.append(thread.is_alive())
    finally:
        threading.excepthook = before
    return seen


def case_failing_threads_print() -> Any:
    def fail() -> None:
        raise ZeroDivisionError("in the thread")

    text = io.StringIO()
    with redirect_stderr(text):
        thread = threading.Thread(target=fail, name="failing")
        thread.start()
        thread.join()
    lines = text.getvalue().splitlines()
    return [lines[0], lines[-1], len([line for line in lines if "graftlet" in line])]


def case_failing_excepthook() -> Any:
    def hook(args: Any) -> None:
        raise RuntimeError("in the hook")

    before, threading.excepthook = threading.excepthook, hook
    seen: list[Any] = []
    old_hook, sys.excepthook = (
        sys.excepthook,
        lambda kind, value, trace: seen.append([kind.__name__, str(value)]),
    )
    try:
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    finally:
        threading.excepthook = before
        sys.excepthook = old_hook
    return seen


def case_bare_threads() -> Any:
    done = threading.Event()
    seen: list[Any] = []

    def work(*args: Any, **kwargs: Any) -> None:
        seen.append([args, kwargs, type(threading.current_thread()).__name__])
        seen.append(threading.current_thread() is threading.current_thread())
        done.set()

    count = _thread._count()
    ident = _thread.start_new_thread(work, (1, 2), {"key": 3})
    done.wait()
    settle()
    got: list[Any] = [seen, isinstance(ident, int), _thread._count() - count]
    anything: Any = _thread.start_new_thread
    got += [
        kind(anything, 1, ()),
        kind(anything, work, [1]),
        kind(anything, work, (), 3),
        kind(anything, work),
    ]
    threading._active.clear() if False else None  # type: ignore[attr-defined]
    return got


def case_bare_thread_fails() -> Any:
    seen: list[Any] = []
    done = threading.Event()

    def fail(error: BaseException) -> None:
        try:
            raise error
        finally:
            done.set()

    def hook(args: Any) -> None:
        seen.append(
            [
                args.exc_type.__name__,
                str(args.exc_value),
                getattr(args.object, "__name__", None),
                args.err_msg,
            ]
        )

    before, sys.unraisablehook = sys.unraisablehook, hook
    try:
        for error in (ValueError("one"), SystemExit(2)):
            done.clear()
            _thread.start_new_thread(fail, (error,))
            done.wait()
            settle()
    finally:
        sys.unraisablehook = before
    return [each[:3] for each in seen]


def case_exit() -> Any:
    events: list[str] = []

    def work() -> None:
        try:
            events.append("before")
            _thread.exit()
        finally:
            events.append("after")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return [events, kind(_thread.interrupt_main, 999)]


def without_dummies() -> list[threading.Thread]:
    """All threads. Up to 3.12 a stand-in may stay when its thread has ended (see child.py)."""
    dummies = threading._DummyThread if sys.version_info < (3, 13) else ()
    return [thread for thread in threading.enumerate() if not isinstance(thread, dummies)]


def case_current_thread_everywhere() -> Any:
    got: list[Any] = [threading.current_thread() is threading.main_thread()]
    names: list[Any] = []

    def deep(depth: int) -> None:
        if depth:
            deep(depth - 1)
        else:
            time.sleep(0.001)
            names.append(threading.current_thread().name)

    threads = [
        threading.Thread(target=deep, args=(number,), name=f"t{number}") for number in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got += [sorted(names), threading.main_thread().name, threading.main_thread().is_alive()]
    return [*got, [thread.name for thread in without_dummies()]]


def case_timer() -> Any:
    events: list[Any] = []
    go_on = threading.Event()
    fired = threading.Timer(SHORT, lambda text: (go_on.wait(), events.append(text)), ("fired",))
    cancelled = threading.Timer(LONG * 100, events.append, ("never",))
    later = threading.Timer(LONG * 100, events.append, kwargs={"never": 1})
    for timer in (fired, cancelled, later):
        timer.start()
    cancelled.cancel()
    got = [fired.is_alive(), later.is_alive()]
    go_on.set()
    fired.join()
    later.cancel()
    for timer in (cancelled, later):
        timer.join()
    return [*got, events, later.is_alive(), later.finished.is_set()]


def case_barrier() -> Any:
    actions: list[str] = []
    barrier = threading.Barrier(3, action=lambda: actions.append("met"))

    def meet() -> int:
        first = barrier.wait()
        return first + 10 * barrier.wait()

    threads = [Background(meet) for _ in range(3)]
    got: list[Any] = [sorted(each.result() % 10 for each in threads), actions, barrier.n_waiting]
    waiter = Background(barrier.wait)
    settle()
    got.append(barrier.n_waiting)
    barrier.abort()
    got += [waiter.result(), barrier.broken, kind(barrier.wait)]
    barrier.reset()
    got += [kind(barrier.wait, SHORT), barrier.broken]
    return got


def case_local() -> Any:
    data = threading.local()
    data.value = 1
    data.mine = 2

    def use(number: int) -> Any:
        before = hasattr(data, "value")
        data.value = number
        settle()
        return [before, data.value, sorted(vars(data))]

    threads = [Background(use, number) for number in range(5)]
    got: list[Any] = [[thread.result() for thread in threads], data.value, vars(data)]
    del data.mine
    got += [
        kind(getattr, data, "mine"),
        kind(delattr, data, "mine"),
        kind(setattr, data, "__dict__", {}),
    ]
    got += [kind(threading.local, 1)]
    return got


def case_local_subclass() -> Any:
    made: list[Any] = []

    class Mine(threading.local):
        shared = "class"
        __slots__ = ("slot",)

        def __init__(self, start: int, *, step: int = 1) -> None:
            made.append(start)
            self.count = start
            self.step = step

        def advance(self) -> int:
            self.count += self.step
            return self.count

        @property
        def double(self) -> int:
            return self.count * 2

        @double.setter
        def double(self, value: int) -> None:
            self.count = value // 2

    mine = Mine(10, step=5)
    mine.slot = "in all threads"
    got: list[Any] = [
        mine.advance(),
        Background(mine.advance).result(),
        mine.count,
        len(made),
        mine.shared,
    ]
    mine.double = 8
    return [
        *got,
        mine.count,
        Background(lambda: [mine.slot, mine.double]).result(),
        isinstance(mine, threading.local),
    ]


def case_local_special_names() -> Any:
    data = threading.local()
    data.value = 1
    same = [data.__doc__ == threading.local.__doc__, isinstance(data, threading.local)]
    data.__doc__ = "its own"
    got: list[Any] = [
        *same,
        data.__doc__,
        data.value,
        vars(data),
        data.__class__ is threading.local,
    ]
    got += Background(lambda: [data.__doc__ == threading.local.__doc__, vars(data)]).result()
    del data.__doc__
    got += [data.__doc__ == threading.local.__doc__, kind(delattr, data, "__doc__"), data.value]
    got += [kind(setattr, data, "__class__", int), kind(setattr, threading.local(), "__class__", 1)]
    return [*got, kind(pickle.dumps, data), kind(copy.copy, threading.local())]


def case_local_subclasses_with_hooks() -> Any:
    class Default(threading.local):
        value: Any = "class"

        def __getattr__(self, name: str) -> str:
            return f"no {name}"

        @property
        def failing(self) -> Any:
            raise AttributeError("once")

    class Doubling(threading.local):
        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            return value * 2 if name == "number" else value

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value + 1)

    default = Default()
    got: list[Any] = [default.value, default.other, default.failing]
    default.value = "object"
    got += [default.value, Default.value, Background(lambda: default.value).result()]
    doubling = Doubling()
    doubling.number = 3
    return [*got, doubling.number, vars(doubling), Background(lambda: vars(doubling)).result()]


def case_local_gives_up() -> Any:
    class Thing:
        pass

    data = threading.local()
    alive: list[Any] = []

    def use() -> None:
        data.thing = Thing()
        alive.append(weakref.ref(data.thing))

    Background(use).result()
    gc.collect()
    got = [alive[0]() is None]
    data.thing = Thing()
    alive.append(weakref.ref(data.thing))
    del data
    gc.collect()
    return [*got, alive[1]() is None]


# -- Locks


def case_lock() -> Any:
    lock = threading.Lock()
    got: list[Any] = [
        lock.locked(),
        lock.acquire(),
        lock.locked(),
        lock.acquire(False),
        lock.acquire(blocking=False),
    ]
    got += [lock.acquire(timeout=0), lock.acquire(True, SHORT), lock.release(), kind(lock.release)]
    with lock as entered:
        got += [entered, lock.locked()]
    got += [lock.locked(), lock.acquire(True, 0.5), lock.release()]
    anything: Any = lock.acquire
    got += [
        kind(anything, True, -2),
        kind(anything, False, 1),
        kind(anything, timeout="x"),
        kind(anything, True, 1e300),
        kind(anything, 1, 2, 3),
        kind(anything, wrong=1),
        kind(anything, None),
        kind(anything, True, None),
        kind(lock.__exit__),
        kind(copy.copy, lock),
        "unlocked" in repr(threading.Lock()),
        isinstance(lock, type(threading.Lock())),
        isinstance(lock, _thread.LockType),
        hasattr(lock, "__dict__"),
        weakref.ref(lock)() is lock,
    ]
    return got


def case_lock_contended() -> Any:
    got = [contend(threading.Lock()), contend(threading.RLock()), contend(threading.Semaphore())]
    lock = threading.Lock()
    lock.acquire()
    waiters = [Background(lock.acquire, timeout=LONG) for _ in range(4)]
    settle()
    for _ in range(4):
        lock.release()
        settle(0.001)
    return [*got, [waiter.result() for waiter in waiters], lock.locked()]


def case_lock_released_by_another_thread() -> Any:
    lock = threading.Lock()
    lock.acquire()
    Background(lock.release).result()
    return lock.locked()


def case_lock_timeouts() -> Any:
    lock = threading.Lock()
    lock.acquire()
    start = time.monotonic()
    got = [lock.acquire(timeout=0.03), 0.025 < time.monotonic() - start < LONG]
    waiters = [Background(lock.acquire, timeout=SHORT) for _ in range(3)]
    got += [waiter.result() for waiter in waiters]
    lock.release()
    return [*got, lock.acquire(timeout=SHORT)]


def case_counter_under_a_lock() -> Any:
    lock = threading.Lock()
    count = 0

    def work() -> None:
        nonlocal count
        for _ in range(200):
            with lock:
                before = count
                if before % 37 == 0:
                    time.sleep(0)
                count = before + 1

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count


def case_rlock() -> Any:
    lock = threading.RLock()
    got: list[Any] = [lock.acquire(), lock.acquire(), lock.acquire(False), held(lock)]
    got += [Background(lambda: kind(lock.release)).result()]
    got += [
        lock.release(),
        lock.release(),
        held(lock),
        lock.release(),
        held(lock),
        kind(lock.release),
    ]
    with lock, lock:
        got.append(held(lock))
    got += [held(lock), "owner=0 count=0" in repr(lock)]
    with lock:
        got += [f"owner={threading.get_ident()} count=1" in repr(lock), "locked" in repr(lock)]
    anything: Any = lock.acquire
    got += [
        kind(anything, True, -2),
        kind(anything, False, 1),
        kind(anything, "x", "y"),
        lock.acquire(timeout=0),
    ]
    lock.release()
    got += [kind(threading.RLock, 1) if sys.version_info >= (3, 14) else None, type(lock).__name__]
    return got


def case_rlock_is_the_threads_own() -> Any:
    lock = threading.RLock()
    events: list[Any] = []

    def work(number: int) -> None:
        for _ in range(5):
            with lock:
                events.append((number, "in"))
                time.sleep(0)
                with lock:
                    time.sleep(0.0005)
                events.append((number, "out"))

    threads = [Background(work, number) for number in range(3)]
    for thread in threads:
        thread.result()
    return all(events[i][0] == events[i + 1][0] for i in range(0, len(events), 2))


def case_condition() -> Any:
    condition = threading.Condition()
    items: list[int] = []

    def take() -> Any:
        with condition:
            while not items:
                condition.wait()
            return items.pop()

    takers = [Background(take) for _ in range(3)]
    settle()
    for number in range(3):
        with condition:
            items.append(number)
            condition.notify()
    got: list[Any] = [sorted(taker.result() for taker in takers)]
    with condition:
        got += [
            condition.wait(SHORT),
            condition.wait_for(lambda: False, SHORT),
            condition.wait_for(lambda: 7, 1),
        ]
    got += [kind(condition.wait), kind(condition.notify), kind(condition.release)]
    with condition:
        Background(lambda: 1).result()
        got.append(condition.acquire(False))
        condition.release()
    return got


def case_semaphores() -> Any:
    semaphore = threading.Semaphore(2)
    inside = 0
    most = 0

    def work() -> None:
        nonlocal inside, most
        with semaphore:
            inside += 1
            most = max(most, inside)
            settle(0.001)
            inside -= 1

    threads = [Background(work) for _ in range(8)]
    got: list[Any] = [
        [thread.result() for thread in threads],
        most,
        semaphore.acquire(timeout=SHORT),
    ]
    got += [
        kind(threading.Semaphore, -1),
        kind(semaphore.release, 0),
        kind(semaphore.acquire, False, 1),
    ]
    return got


def case_event() -> Any:
    event = threading.Event()
    got: list[Any] = [event.wait(SHORT), event.is_set(), event.wait(0), event.wait(-1)]
    waiters = [Background(event.wait) for _ in range(5)]
    settle()
    event.set()
    return [*got, [waiter.result() for waiter in waiters], event.wait(), event.is_set()]


def case_settrace_and_setprofile() -> Any:
    calls: list[str] = []

    def traced() -> None:
        time.sleep(0)

    def profile(frame: Any, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code.co_name == "traced":
            calls.append("profiled")

    def trace(frame: Any, event: str, arg: Any) -> Any:
        if event == "call" and frame.f_code.co_name == "traced":
            calls.append("traced")

    threading.setprofile(profile)
    threading.settrace(trace)
    try:
        thread = threading.Thread(target=traced)
        thread.start()
        thread.join()
    finally:
        threading.setprofile(None)  # type: ignore[arg-type]
        threading.settrace(None)  # type: ignore[arg-type]
    got = [sorted(calls), sys.gettrace() is None, sys.getprofile() is None]
    sys.settrace(None)
    sys.setprofile(None)
    return got


def case_stack_size() -> Any:
    before = threading.stack_size()
    got = [
        threading.stack_size(1 << 20),
        threading.stack_size(before),
        kind(threading.stack_size, 1),
    ]
    return [got[0] == before, got[1], got[2], threading.TIMEOUT_MAX > 1e6]


def case_contextvars() -> Any:
    import contextvars

    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    variable.set(1)

    def work(number: int) -> Any:
        before = variable.get()
        variable.set(number)
        settle(0.001)
        return [before if sys.version_info < (3, 14) else None, variable.get()]

    threads = [Background(work, number) for number in range(2, 5)]
    return [[thread.result() for thread in threads], variable.get()]


def case_executors() -> Any:
    def work(number: int) -> int:
        time.sleep(SHORT / 4)
        if number == 3:
            raise ValueError(number)
        return number * number

    with ThreadPoolExecutor(3, thread_name_prefix="pool") as pool:
        futures = [pool.submit(work, number) for number in range(6)]
        got: list[Any] = [outcome(future.result, LONG) for future in futures]
        names = {pool.submit(lambda: threading.current_thread().name).result() for _ in range(3)}
        go_on = threading.Event()
        got += [
            all(name.startswith("pool_") for name in names),
            kind(pool.submit(go_on.wait).result, 0),
        ]
        go_on.set()
    return [*got, kind(pool.submit, work, 1)]


def case_daemons_inherit() -> Any:
    def look() -> Any:
        return [threading.current_thread().daemon, threading.Thread().daemon]

    return Background(look).result()


def case_many_threads() -> Any:
    done: queue.SimpleQueue[int] = queue.SimpleQueue()

    def work(number: int) -> None:
        time.sleep(0.001)
        done.put(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [done.qsize(), len(without_dummies())]


def case_dummy_threads_are_forgotten() -> Any:
    if sys.version_info < (3, 13):
        return None  # before, each stayed until another thread got its ident
    count = threading.active_count()
    done = threading.Event()

    def work() -> None:
        threading.current_thread()
        done.set()

    _thread.start_new_thread(work, ())
    done.wait()
    settle()
    return threading.active_count() - count


def case_dummy_threads_stay_for_a_while() -> Any:
    idents = []
    for _ in range(3):
        done = threading.Lock()
        done.acquire()

        def work(done: Any = done) -> None:
            threading.current_thread()
            done.release()

        idents.append(_thread.start_new_thread(work, ()))
        done.acquire()
        settle()
    return sys.version_info >= (3, 13) or idents[-1] in threading._active  # type: ignore[attr-defined]


def case_names_look_the_same() -> Any:
    found = {}
    for module in (threading, _thread):
        for name in sorted(vars(module)):
            value = getattr(module, name)
            if not name.startswith("__") and (
                isinstance(value, type) or repr(value).startswith("<built-in function")
            ):
                found[f"{module.__name__}.{name}"] = None
    return [name for name in found if "lock" in name.lower()]


def case_warnings_in_threads() -> Any:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        thread = threading.Thread(target=warnings.warn, args=("from a thread",))
        thread.start()
        thread.join()
    return [str(each.message) for each in caught]

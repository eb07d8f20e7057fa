"""queue: those made of Python on threading, and the C SimpleQueue."""

from __future__ import annotations

import _queue
import queue
import sys
import threading
import time
from queue import SimpleQueue as OldSimpleQueue
from types import SimpleNamespace
from typing import Any

from tests.patch.harness.tools import LONG, SHORT, Background, kind, outcome, settle

old = SimpleNamespace()

QUEUE: queue.Queue[Any] = queue.Queue()
BOUNDED: queue.Queue[Any] = queue.Queue(1)
SIMPLE: queue.SimpleQueue[Any] = queue.SimpleQueue()
FILLED: queue.SimpleQueue[Any] = queue.SimpleQueue()
FILLED.put("before")
GET = SIMPLE.get


class Holder:
    """Keeps queues in several places."""

    simple: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def take(self, where: Any = SIMPLE) -> Any:
        return where.get(timeout=LONG)


class OldQueue(queue.Queue[Any]):
    """Defined before patching, in mode ``last``."""

    def _put(self, item: Any) -> None:
        super()._put(("marked", item))


def prepare() -> None:
    BOUNDED.put("first")
    old.subclass = OldQueue()
    old.get = Holder().take


def pass_through(made: Any) -> Any:
    getter = Background(made.get)
    settle()
    made.put("item")
    return [getter.result(), kind(made.get, False), kind(made.get, True, SHORT), made.empty()]


def case_old_queues() -> Any:
    got = [
        pass_through(QUEUE),
        pass_through(SIMPLE),
        pass_through(Holder.simple),
        pass_through(old.subclass),
    ]
    putter = Background(BOUNDED.put, "second")
    settle()
    got.append([BOUNDED.full(), BOUNDED.get(), putter.result(), BOUNDED.get()])
    return [*got, FILLED.qsize(), FILLED.get(), pass_through(FILLED)]


def case_old_references() -> Any:
    getter = Background(GET)
    settle()
    SIMPLE.put(1)
    got = [getter.result()]
    getter = Background(old.get)
    settle()
    SIMPLE.put(2)
    return [
        *got,
        getter.result(),
        isinstance(SIMPLE, queue.SimpleQueue),
        pass_through(OldSimpleQueue()),
    ]


def each_kind() -> list[Any]:
    return [queue.Queue(), queue.LifoQueue(), queue.PriorityQueue(), queue.SimpleQueue()]


def case_put_and_get() -> Any:
    got: list[Any] = []
    for made in each_kind():
        for number in (2, 1, 3):
            made.put(number)
        got.append([made.qsize(), made.get(), made.get(timeout=1), made.get_nowait(), made.empty()])
        got.append([kind(made.get_nowait), kind(made.get, False), kind(made.get, True, SHORT)])
        got.append(
            [kind(made.get, True, -1), kind(made.get, timeout=0), kind(made.put, 1, wrong=2)]
        )
        got.append(pass_through(made))
    return got


def case_bounded() -> Any:
    made: queue.Queue[int] = queue.Queue(2)
    got: list[Any] = [
        made.put(1),
        made.put(2),
        made.full(),
        kind(made.put, 3, False),
        kind(made.put, 3, True, SHORT),
    ]
    got += [kind(made.put_nowait, 3), kind(made.put, 3, True, -1)]
    putters = [Background(made.put, number) for number in (3, 4, 5)]
    settle()
    got.append(sorted(made.get() for _ in range(5)))
    return [*got, [putter.result() for putter in putters], made.empty()]


def case_task_done_and_join() -> Any:
    made: queue.Queue[int] = queue.Queue()
    done: list[int] = []

    def work() -> None:
        while (item := made.get()) >= 0:
            settle(0.001)
            done.append(item)
            made.task_done()
        made.task_done()

    workers = [Background(work) for _ in range(3)]
    for number in range(10):
        made.put(number)
    made.join()
    got: list[Any] = [sorted(done), made.unfinished_tasks]
    for _ in workers:
        made.put(-1)
    return [*got, [worker.result() for worker in workers], made.join(), kind(made.task_done)]


def case_many_producers_and_consumers() -> Any:
    got = []
    for made in (queue.Queue(3), queue.SimpleQueue()):
        taken: list[int] = []

        def produce(start: int, made: Any = made) -> None:
            for number in range(start, start + 50):
                made.put(number)

        def consume(made: Any = made, taken: Any = taken) -> None:
            while (item := made.get()) is not None:
                taken.append(item)

        consumers = [Background(consume) for _ in range(3)]
        producers = [Background(produce, start) for start in (0, 50, 100)]
        for producer in producers:
            producer.result()
        for _ in consumers:
            made.put(None)
        got.append(
            [[consumer.result() for consumer in consumers], sorted(taken) == list(range(150))]
        )
    return got


def case_getters_are_served_in_turn() -> Any:
    got = []
    for make in (queue.Queue, queue.SimpleQueue):
        made: Any = make()
        getters = []
        for _ in range(4):
            getters.append(Background(made.get))
            settle()
        for number in range(4):
            made.put(number)
            settle()
        got.append(sorted(getter.result() for getter in getters))
    return got


def case_timeouts_take_their_time() -> Any:
    got = []
    for made in each_kind():
        start = time.monotonic()
        got.append([kind(made.get, True, 0.03), 0.025 < time.monotonic() - start < LONG])
    return got


def case_shutdown() -> Any:
    if sys.version_info < (3, 13):
        return None
    made: queue.Queue[int] = queue.Queue(1)
    getters = [Background(made.get) for _ in range(2)]
    settle()
    made.shutdown()
    got: list[Any] = [getter.result() for getter in getters]
    got += [kind(made.put, 1), kind(made.get), kind(made.get, False)]
    made = queue.Queue(1)
    made.put(1)
    putter = Background(made.put, 2)
    settle()
    made.shutdown()
    got += [putter.result(), made.get(), kind(made.get)]
    made = queue.Queue()
    made.put(1)
    made.shutdown(immediate=True)
    return [*got, kind(made.get), made.join()]


def case_classes() -> Any:
    made = queue.SimpleQueue[int]
    return [
        queue.SimpleQueue is _queue.SimpleQueue,
        queue.Empty is _queue.Empty,
        queue.SimpleQueue.__name__,
        kind(queue.SimpleQueue, 1),
        made is not None,
        kind(type, "Sub", (queue.SimpleQueue,), {}) is not None,
        kind(setattr, queue.SimpleQueue(), "attribute", 1),
    ]


class Sub(queue.SimpleQueue[Any]):
    """A subclass defined before patching, in mode ``last``."""

    def put_two(self, item: Any) -> None:
        self.put(item)
        self.put(item)


def case_old_subclass_of_simple_queue() -> Any:
    made = Sub()
    getters = [Background(made.get), Background(made.get)]
    settle()
    made.put_two(7)
    return [[getter.result() for getter in getters], isinstance(made, Sub)]


def case_put_from_a_finalizer() -> Any:
    made: queue.SimpleQueue[str] = queue.SimpleQueue()

    class Thing:
        def __del__(self) -> None:
            made.put("gone")

    getter = Background(made.get)
    settle()
    Thing()
    return getter.result()


def case_locals_are_not_shared() -> Any:
    lock = threading.Lock()
    results: queue.Queue[Any] = queue.Queue()

    def work(number: int) -> None:
        with lock:
            results.put(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(results.get() for _ in range(5))


def case_errors() -> Any:
    made: Any = queue.Queue()
    return [
        outcome(made.get, False),
        outcome(made.put, 1, True, -1),
        made.get(),
        kind(made.get, timeout="x"),
    ]


def case_simple_queue_with_methods_overridden() -> Any:
    """Each may call the other one: those of the class never call a subclass's."""

    class Marked(queue.SimpleQueue):  # type: ignore[type-arg]
        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
            self.put_nowait(("put", item))

        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            return ("get", self.get_nowait())

    made = Marked()
    made.put(1)
    made.put_nowait(2)
    return [made.get(), made.get_nowait(), outcome(made.get), outcome(made.get_nowait)]

"""Queues: as the standard library's, with its hooks and its exceptions; and what gevent's have besides."""

from __future__ import annotations

import queue as standard
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graftlet
from graftlet import queue
from graftlet.testing import assert_no_switches, wait_all_parked
from tests.sync.worlds import NativeThreads, Threads, World, agree, blocks_natively, raised

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Unhandled

KINDS = ["queue", "lifo_queue", "priority_queue"]
every_kind = pytest.mark.parametrize("kind", KINDS)
every_class = pytest.mark.parametrize(
    "make", [queue.Queue, queue.LifoQueue, queue.PriorityQueue, queue.SimpleQueue]
)

#: The standard library's queues can be shut down since 3.13.
CAN_SHUT_DOWN = sys.version_info >= (3, 13)


def test_the_exceptions_are_the_standard_librarys() -> None:
    assert queue.Empty is standard.Empty
    assert queue.Full is standard.Full
    if sys.version_info >= (3, 13):
        assert queue.ShutDown is standard.ShutDown
    assert issubclass(queue.ShutDown, Exception)


# -- As the standard library's, without waiting

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["put_nowait"]), st.integers(0, 5)),
        st.tuples(
            st.sampled_from(["get_nowait", "qsize", "empty", "full", "task_done", "unfinished"]),
            st.none(),
        ),
        st.tuples(st.sampled_from(["shutdown"]), st.booleans()),
    ),
    max_size=30,
)


@every_kind
@settings(max_examples=60, deadline=None)
@given(maxsize=st.integers(-1, 3), operations=OPERATIONS)
def test_the_same_results_without_waiting(
    kind: str, maxsize: int, operations: list[tuple[str, Any]]
) -> None:
    def body(world: World) -> list[str]:
        there = getattr(world, kind)(maxsize)
        results = []
        for name, argument in operations:
            if name == "unfinished":
                results.append(str(there.unfinished_tasks))
            elif name == "shutdown":
                if CAN_SHUT_DOWN:
                    results.append(raised(there.shutdown, argument))
            else:
                arguments = () if argument is None else (argument,)
                results.append(raised(getattr(there, name), *arguments))
        return results

    assert body(World()) == body(Threads())


@blocks_natively
@every_kind
def test_arguments_and_results(kind: str) -> None:
    def body(world: World) -> list[str]:
        there = getattr(world, kind)(1)
        boundless = getattr(world, kind)()
        return [
            raised(there.get, False),
            raised(there.get, timeout=0),
            raised(there.get, True, -1),
            raised(there.get, False, -1),
            raised(there.get, timeout=world.short),
            raised(there.put, 1),
            raised(there.put, 2, False),
            raised(there.put, 2, timeout=0),
            raised(there.put, 2, True, -1),
            raised(there.put, 2, False, -1),
            raised(there.put, 2, True, world.short),
            raised(there.get),
            raised(there.task_done),
            raised(there.task_done),
            raised(lambda: there.join() and None),  # ours says True
            raised(boundless.put, 1, True, -1),
            raised(boundless.put, 1, False, 3),
            raised(boundless.get, True, 3),
        ]

    agree(body)


@blocks_natively
def test_a_simple_queues_arguments_and_results() -> None:
    def body(world: World) -> list[str]:
        there = world.simple_queue()
        return [
            raised(there.get, False),
            raised(there.get_nowait),
            raised(there.get, timeout=0),
            raised(there.get, True, -1),
            raised(there.get, False, -1),
            raised(there.get, timeout=world.short),
            raised(there.empty),
            raised(there.put, 1),
            raised(there.put, 2, False, -1),
            raised(there.put_nowait, 3),
            raised(there.qsize),
            raised(there.empty),
            raised(there.get),
            raised(there.get, block=False),
            raised(there.get, timeout=1),
        ]

    agree(body)


# -- As the standard library's, waiting


@blocks_natively
@pytest.mark.parametrize("kind", [*KINDS, "simple_queue"])
def test_getters_wait_for_items(kind: str) -> None:
    def body(world: World) -> object:
        there = getattr(world, kind)()
        jobs = [world.spawn(there.get, True, timeout) for timeout in (None, world.long, None)]
        world.settle()
        for number in range(3):
            there.put(number)
        return sorted(job() for job in jobs), there.qsize()

    agree(body)


@blocks_natively
@every_kind
def test_putters_wait_for_room(kind: str) -> None:
    def body(world: World) -> object:
        there = getattr(world, kind)(2)
        jobs = [world.spawn(there.put, number, True, world.long) for number in range(6)]
        world.settle()
        items = [there.get() for _ in range(6)]
        for job in jobs:
            job()
        return sorted(items), there.qsize()

    agree(body)


@blocks_natively
@every_kind
def test_join_waits_for_all_that_was_put(kind: str) -> None:
    def body(world: World) -> object:
        there = getattr(world, kind)()
        done: list[int] = []

        def work() -> None:
            while (item := there.get()) >= 0:
                world.settle()
                done.append(item)
                there.task_done()

        jobs = [world.spawn(work) for _ in range(2)]
        for number in range(6):
            there.put(number)
        there.join()
        result = sorted(done), there.unfinished_tasks
        for _ in jobs:
            there.put(-1)
        for job in jobs:
            job()
        return result

    agree(body)


@blocks_natively
@pytest.mark.parametrize("immediate", [False, True])
@every_kind
def test_shutdown_ends_every_wait(kind: str, immediate: bool) -> None:
    def body(world: World) -> object:
        full, empty = getattr(world, kind)(1), getattr(world, kind)()
        full.put(1)
        jobs = [
            world.spawn(raised, full.put, 2),
            world.spawn(raised, empty.get),
            world.spawn(raised, empty.get, True, world.long),
        ]
        if immediate:
            jobs.append(world.spawn(raised, lambda: full.join() and None))  # ours says True
        world.settle()
        full.shutdown(immediate)
        empty.shutdown(immediate)
        return (
            [job() for job in jobs],
            raised(full.put, 3),
            raised(full.get),
            raised(full.get),
            full.unfinished_tasks,
        )

    # Below 3.13 there is nothing to compare with.
    worlds = [World(), NativeThreads(), Threads()] if CAN_SHUT_DOWN else [World(), NativeThreads()]
    for world in worlds:
        assert world.run(body) == (
            ["ShutDown"] * 3 + ["None"] * immediate,
            "ShutDown",
            "ShutDown" if immediate else "1",
            "ShutDown",
            1 - immediate,
        )


# -- The hooks


@every_kind
def test_subclasses_may_override_the_hooks(kind: str) -> None:
    def body(world: World) -> object:
        base: Any = getattr(world, kind)

        class Distinct(base):  # type: ignore[misc] # the base is a variable
            """Knows what it had."""

            def _init(self, maxsize: int) -> None:
                super()._init(maxsize)
                self.seen: set[int] = set()

            def _put(self, item: int) -> None:
                if item not in self.seen:
                    self.seen.add(item)
                    super()._put(item)

        there = Distinct(3)
        for number in [1, 1, 2, 1, 2, 3]:
            there.put_nowait(number)
        return [there.qsize(), raised(there.put_nowait, 4), [there.get_nowait() for _ in range(3)]]

    assert body(World()) == body(Threads())


def test_a_hook_that_raises_leaves_the_queue_usable() -> None:
    there: queue.PriorityQueue[Any] = queue.PriorityQueue()
    there.put(1)
    with pytest.raises(TypeError):
        there.put("not comparable")
    with pytest.raises(TypeError):
        raise TypeError if there.qsize() else AssertionError
    there.queue = [1]
    assert there.get_nowait() == 1
    assert there.unfinished_tasks == 1


def test_a_hook_that_makes_room_for_several_lets_several_in() -> None:
    class Batch(queue.Queue[Any]):
        """Gives all that it has at once."""

        def _get(self) -> Any:
            items = list(self.queue)
            self.queue.clear()
            return items

    there = Batch(2)
    putters = [graftlet.spawn(there.put, number) for number in range(6)]
    wait_all_parked()
    got = []
    while any(putters):
        got.append(there.get())
        wait_all_parked()
    assert got == [[0, 1], [2, 3]]
    assert there.get() == [4, 5]


# -- Finalizers


class Nested(queue.PriorityQueue[Any]):
    """Calls ``then`` in the middle of a hook, as a finalizer does that the collector calls there."""

    then: Callable[[], object] | None = None

    def _at_worst(self) -> None:
        then, self.then = self.then, None
        if then is not None:
            then()

    def _put(self, item: Any) -> None:
        self._at_worst()
        super()._put(item)
        self._at_worst()

    def _get(self) -> Any:
        item = super()._get()
        self._at_worst()
        return item


def test_a_put_by_a_finalizer_is_done_on_the_way_out() -> None:
    there = Nested()
    getter = graftlet.spawn(lambda: [there.get() for _ in range(3)])
    wait_all_parked()
    there.then = lambda: there.put(1)
    with assert_no_switches():
        there.put(2)
    assert there.unfinished_tasks == 2
    there.then = lambda: there.put_nowait(3)
    assert getter.get() == [1, 2, 3]
    assert there.unfinished_tasks == 3


def test_a_get_by_a_finalizer_finds_nothing() -> None:
    there = Nested()
    there.put(1)
    seen: list[str] = []
    there.then = lambda: seen.extend([raised(there.get_nowait), raised(there.peek_nowait)])
    there.put(2)
    assert seen == ["Empty", "Empty"]
    assert [there.get_nowait(), there.get_nowait()] == [1, 2]


def test_a_finalizer_may_do_anything_else() -> None:
    there = Nested(2)
    there.put(1)
    seen: list[object] = []
    there.then = lambda: seen.extend(
        [
            there.full(),
            there.qsize(),
            raised(there.task_done),
            raised(there.put_nowait, 2),
            raised(there.put_nowait, 3),
            raised(there.shutdown, True),
            raised(there.put_nowait, 4),
        ]
    )
    there.put(0)
    assert seen == [False, 1, "None", "None", "Full", "None", "ShutDown"]
    assert there.is_shutdown
    # The two puts were let in before.
    assert sorted(there) == [0, 1, 2]
    assert there.unfinished_tasks == 2


def test_a_put_by_a_finalizer_that_fails_is_reported(unhandled: Unhandled) -> None:
    there = Nested()
    there.then = lambda: there.put("not comparable")
    there.put(1)
    assert there.get_nowait() == 1
    assert [type(error) for _, error in unhandled] == [TypeError]


def test_a_greenlet_that_came_while_a_hook_parked_gets_its_item() -> None:
    """Hooks should not park; but a finalizer in one may."""
    there = Nested()
    there.put(1)
    there.put(2)
    there.then = lambda: graftlet.sleep(1)
    first = graftlet.spawn(there.get)
    wait_all_parked()
    second = graftlet.spawn(there.get)
    third = graftlet.spawn(there.put, 3)
    assert third.join(0.5)
    assert [first.get(), second.get(), there.get()] == [1, 2, 3]


# -- What the standard library's don't have


@every_class
def test_without_waiting_it_never_switches(make: type[Any]) -> None:
    there = make()
    with assert_no_switches():
        there.put(1)
        assert there.get() == 1
        assert raised(there.get_nowait) == "Empty"
        assert raised(there.get, timeout=0) == "Empty"
        there.put_nowait(2)
        assert there.get(block=False) == 2


def test_peek_leaves_the_item() -> None:
    for make, expected in (
        (queue.Queue, 2),
        (queue.LifoQueue, 1),
        (queue.PriorityQueue, 1),
    ):
        there: queue.Queue[int] = make()
        assert raised(there.peek_nowait) == "Empty"
        assert raised(there.peek, timeout=1) == "Empty"
        assert raised(there.peek, timeout=-1) == "ValueError"
        waiting = [graftlet.spawn(each) for each in (there.peek, there.peek, there.get)]
        wait_all_parked()
        there.put(5)
        assert [greenlet.get() for greenlet in waiting] == [5, 5, 5]
        for number in (2, 3, 1):
            there.put(number)
        assert there.peek() == expected
        assert there.qsize() == 3


def test_iteration_ends_with_stop_iteration_or_shutdown() -> None:
    there: queue.Queue[Any] = queue.Queue()
    consumer = graftlet.spawn(lambda: list(there))
    for item in (1, 2, StopIteration):
        there.put(item)
    assert consumer.get() == [1, 2]
    consumer = graftlet.spawn(lambda: list(there))
    there.put(3)
    there.shutdown()
    assert consumer.get() == [3]


def test_an_empty_queue_is_true_and_has_a_length() -> None:
    there: queue.Queue[int] = queue.Queue(None)
    assert there
    assert len(there) == 0
    there.put(1)
    assert len(there) == 1
    assert "1 items" in repr(there)
    assert "of 3" in repr(queue.Queue[int](3))
    assert queue.JoinableQueue is queue.Queue
    assert "0 items" in repr(queue.SimpleQueue())


def test_join_with_a_timeout() -> None:
    there: queue.Queue[int] = queue.Queue()
    there.put(1)
    assert not there.join(0)
    assert not there.join(2)
    graftlet.spawn_later(1, there.task_done)
    assert there.join(2)
    assert there.join()


def test_join_waits_on_if_more_was_put_meanwhile() -> None:
    there: queue.Queue[int] = queue.Queue()
    there.put(1)
    joiner = graftlet.spawn(there.join)
    wait_all_parked()
    there.task_done()
    there.put(2)
    wait_all_parked()
    assert not joiner.ready()
    there.task_done()
    assert joiner.get()


def test_a_simple_queue_on_a_native_one() -> None:
    native: standard.SimpleQueue[int] = standard.SimpleQueue()
    native.put(1)
    there = queue.SimpleQueue.of(native)
    there.put(2)
    assert [native.get(), there.get()] == [1, 2]

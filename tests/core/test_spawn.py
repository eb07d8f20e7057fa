"""Making and starting greenlets: who runs when, and in which context."""

from __future__ import annotations

import contextvars
import threading

import pytest

import graftlet
from graftlet import Greenlet
from graftlet.core._links import LinkedKilled
from graftlet.testing import FakeClock, assert_no_switches, assert_switches, wait_all_parked

# -- Order


def test_nothing_starts_before_its_spawner_yields() -> None:
    seen: list[int] = []
    with assert_no_switches():
        greenlet = graftlet.spawn(seen.append, 1)
        assert seen == []
        assert greenlet.started
        assert not greenlet.ready()
    graftlet.sleep(0)
    assert seen == [1]


def test_greenlets_start_in_the_order_in_which_they_were_spawned() -> None:
    seen: list[int] = []
    greenlets = [graftlet.spawn(seen.append, number) for number in range(100)]
    graftlet.joinall(greenlets)
    assert seen == list(range(100))


def test_a_greenlet_yields_only_when_it_blocks() -> None:
    seen: list[str] = []

    def work(name: str) -> None:
        seen.append(f"{name} begins")
        graftlet.spawn(seen.append, f"child of {name}")
        seen.append(f"{name} goes on")
        graftlet.sleep(0)
        seen.append(f"{name} ends")

    graftlet.joinall([graftlet.spawn(work, name) for name in "ab"])
    assert seen == [
        "a begins",
        "a goes on",
        "b begins",
        "b goes on",
        "child of a",
        "a ends",
        "child of b",
        "b ends",
    ]


def test_the_classic_example() -> None:
    """From the old articles: the two switch at each sleep."""
    seen: list[str] = []

    def foo() -> None:
        seen.append("Running in foo")
        graftlet.sleep(0)
        seen.append("Explicit context switch to foo again")

    def bar() -> None:
        seen.append("Explicit context to bar")
        graftlet.sleep(0)
        seen.append("Implicit context switch back to bar")

    graftlet.joinall([graftlet.spawn(foo), graftlet.spawn(bar)])
    assert seen == [
        "Running in foo",
        "Explicit context to bar",
        "Explicit context switch to foo again",
        "Implicit context switch back to bar",
    ]


def test_a_chain_of_spawns_starts_from_a_shallow_stack() -> None:
    def spawn_next(left: int) -> int:
        if left == 0:
            return 0
        child = graftlet.spawn(spawn_next, left - 1)
        child.join()
        return int(child.value) + 1

    greenlet = graftlet.spawn(spawn_next, 2000)
    greenlet.join()
    assert greenlet.value == 2000


# -- The family


def test_the_arguments_arrive() -> None:
    def function(*args: object, **kwargs: object) -> object:
        return args, kwargs

    expected = ((1, "two"), {"three": 3, "function": 4, "run": 5, "self": 6})
    for spawn in (
        graftlet.spawn,
        graftlet.spawn_raw,
        graftlet.spawn_link_exception,
    ):
        greenlet = spawn(function, 1, "two", three=3, function=4, run=5, self=6)
        assert greenlet.get() == expected
    later = graftlet.spawn_later(1, function, 1, "two", three=3, function=4, run=5, self=6)
    assert later.get() == expected


@pytest.mark.parametrize(
    "spawn",
    [
        graftlet.spawn,
        graftlet.spawn_raw,
        graftlet.spawn_link,
        graftlet.spawn_link_value,
        graftlet.spawn_link_exception,
        lambda what: graftlet.spawn_later(1, what),
        Greenlet,
    ],
)
def test_what_cannot_be_called_is_refused_at_once(spawn: object) -> None:
    assert callable(spawn)
    with pytest.raises(TypeError, match="must be callable, not 3"):
        spawn(3)


def test_spawn_later(clock: FakeClock) -> None:
    seen: list[float] = []
    greenlet = graftlet.spawn_later(2.5, lambda: seen.append(clock()))
    assert greenlet.started
    wait_all_parked()
    assert seen == []
    greenlet.join()
    assert seen == [2.5]


def test_spawn_later_starts_in_the_order_of_time_then_of_spawning(clock: FakeClock) -> None:
    seen: list[str] = []
    greenlets = [
        graftlet.spawn_later(seconds, seen.append, name)
        for name, seconds in (("c", 2), ("a", 1), ("d", 2), ("b", 1), ("now", 0))
    ]
    graftlet.joinall(greenlets)
    assert seen == ["now", "a", "b", "c", "d"]


def test_spawn_raw_has_an_empty_context_and_no_site() -> None:
    variable.set("spawner's")
    greenlet = graftlet.spawn_raw(variable.get)
    greenlet.join()
    assert (greenlet.value, greenlet.spawned_at) == ("default", None)


# -- Greenlet by hand


def test_a_greenlet_that_was_not_started_does_not_run() -> None:
    seen: list[int] = []
    greenlet = Greenlet(seen.append, 1)
    graftlet.sleep(1)
    assert seen == []
    assert not greenlet.started
    assert not greenlet.ready()
    assert not greenlet.dead
    assert not greenlet


def test_start() -> None:
    greenlet = Greenlet(lambda: "done")
    greenlet.start()
    greenlet.start()  # does nothing
    assert (greenlet.started, bool(greenlet), greenlet.dead) == (True, True, False)
    assert greenlet.get() == "done"
    assert (greenlet.started, bool(greenlet), greenlet.dead) == (False, False, True)
    greenlet.start()
    graftlet.sleep(0)
    assert greenlet.value == "done"


def test_start_later(clock: FakeClock) -> None:
    greenlet = Greenlet(clock)
    greenlet.start_later(4)
    greenlet.start_later(1)  # does nothing: it is started
    assert greenlet.started
    assert greenlet.get() == 4


def test_a_greenlet_that_is_to_start_later_can_be_started_now(clock: FakeClock) -> None:
    seen: list[float] = []
    greenlet = Greenlet(lambda: seen.append(clock()))
    greenlet.start_later(4)
    greenlet.start()
    graftlet.sleep(10)
    assert seen == [0]


def test_run_starts_and_yields_once() -> None:
    seen: list[str] = []

    def work() -> None:
        seen.append("begins")
        graftlet.sleep(0)
        seen.append("ends")

    greenlet = Greenlet(work)
    with assert_switches():
        greenlet.run()
    assert seen == ["begins"]
    greenlet.join()


def test_a_subclass_overrides_run() -> None:
    class Adder(Greenlet):
        def __init__(self, first: int) -> None:
            super().__init__()
            self.first = first

        def _run(self) -> int:
            return self.first + 1

    class Taker(Greenlet):
        def _run(self, *args: int, by: int) -> list[int]:
            return [argument * by for argument in args]

    adder = Adder(1)
    adder.start()
    assert adder.get() == 2
    taker = Taker(None, 1, 2, by=3)
    taker.start()
    assert taker.get() == [3, 6]


def test_a_greenlet_needs_something_to_run() -> None:
    with pytest.raises(TypeError, match="overrides _run"):
        Greenlet()


def test_a_greenlet_takes_attributes_and_weak_references() -> None:
    import weakref

    greenlet = graftlet.spawn(lambda: None)
    greenlet.note = "mine"  # type: ignore[attr-defined] # what users of the class have always done
    assert weakref.ref(greenlet)() is greenlet
    greenlet.join()


# -- Who runs


def test_getcurrent() -> None:
    main = graftlet.getcurrent()
    assert isinstance(main, Greenlet)
    assert main is graftlet.getcurrent()
    assert "main" in repr(main)
    greenlet = graftlet.spawn(graftlet.getcurrent)
    assert greenlet.get() is greenlet
    assert graftlet.getcurrent() is main


def test_each_native_thread_has_a_hub_of_its_own() -> None:
    found = []

    def run() -> None:
        greenlet = graftlet.spawn(graftlet.get_hub)
        greenlet.join()
        found.append((graftlet.get_hub(), graftlet.getcurrent(), greenlet.value))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
        thread.join()
    (hub, main, hub_of_child), other = found
    assert hub is hub_of_child
    assert len({hub, other[0], graftlet.get_hub()}) == 3
    assert len({main, other[1], graftlet.getcurrent()}) == 3


# -- Context

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")


def test_a_greenlet_gets_a_copy_of_its_spawners_context() -> None:
    variable.set("before")

    def work() -> tuple[str, str]:
        found = variable.get()
        variable.set("child's")
        graftlet.sleep(0)
        return found, variable.get()

    greenlet = graftlet.spawn(work)
    variable.set("after")
    assert greenlet.get() == ("before", "child's")
    assert variable.get() == "after"


def test_the_context_is_that_of_the_moment_of_the_start() -> None:
    variable.set("made")
    started = Greenlet(variable.get)
    later = Greenlet(variable.get)
    variable.set("started")
    started.start()
    later.start_later(1)
    variable.set("running")
    assert (started.get(), later.get()) == ("started", "started")


def test_contexts_of_many_greenlets_stay_apart() -> None:
    def work(name: str) -> str:
        variable.set(name)
        for _ in range(3):
            graftlet.sleep(0)
        return variable.get()

    variable.set("main")
    names = [str(number) for number in range(20)]
    assert [g.get() for g in [graftlet.spawn(work, name) for name in names]] == names
    assert variable.get() == "main"


# -- For people


def test_the_site_of_the_start_is_known() -> None:
    spawned = graftlet.spawn(lambda: None)
    made = Greenlet(lambda: None)
    assert made.spawned_at is None
    made.start()
    for greenlet in (spawned, made):
        assert greenlet.spawned_at is not None
        place, _, function = greenlet.spawned_at.partition(" in ")
        assert place.rpartition(":")[0].endswith("test_spawn.py")
        assert function == "test_the_site_of_the_start_is_known"
    graftlet.joinall([spawned, made])


@pytest.mark.parametrize(
    "spawn",
    [
        graftlet.spawn_link,
        graftlet.spawn_link_value,
        graftlet.spawn_link_exception,
        lambda function: graftlet.spawn_later(0, function),
    ],
)
def test_the_site_is_the_users_line_for_the_whole_family(spawn: object) -> None:
    assert callable(spawn)
    greenlet = spawn(lambda: None)
    assert "test_spawn.py" in greenlet.spawned_at
    greenlet.kill()
    if spawn is graftlet.spawn_link or spawn is graftlet.spawn_link_value:
        with pytest.raises(LinkedKilled):
            graftlet.sleep(0)

"""`graftlet.testing`: time that jumps, order that is controlled, checks that can fail."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import greenlet
import pytest

import graftlet
from graftlet.core._poller import Watch
from graftlet.core._task import Reason
from graftlet.testing import (
    FakeClock,
    Sequencer,
    assert_hub_empty,
    assert_no_switches,
    assert_switches,
    fresh_hub,
    shuffled,
    wait_all_parked,
)
from graftlet.testing._clock import WatchingPoller

if TYPE_CHECKING:
    from collections.abc import Callable

    from graftlet.core._hub import Hub

FOREVER = Reason("something that never comes")


def park_for_ever() -> None:
    graftlet.get_hub().park(FOREVER)


# -- The clock


def test_time_stands_still_while_anybody_runs(clock: FakeClock) -> None:
    for _ in range(10):
        graftlet.sleep(0)
    assert clock() == 0


def test_the_clock_jumps_exactly_to_each_deadline(clock: FakeClock) -> None:
    seen = []
    sleeps = [0.1, 3e9, 0.3, 7.0, 1e-9]
    for seconds in sleeps:
        graftlet.spawn_later(seconds, lambda: seen.append(clock()))
    graftlet.sleep(1e10)
    assert seen == sorted(sleeps)
    assert clock() == 1e10


def test_an_hour_takes_no_time(clock: FakeClock) -> None:
    before = time.monotonic()
    graftlet.sleep(3600)
    assert clock() == 3600
    assert time.monotonic() - before < 10


def test_advancing_by_hand_makes_things_due(clock: FakeClock) -> None:
    done = graftlet.spawn_later(5, clock)
    clock.advance(7)
    done.join()
    assert done.value == 7
    with pytest.raises(ValueError, match="advance"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="advance"):
        clock.advance(float("nan"))


def test_no_jump_while_a_native_call_is_under_way(hub: Hub, clock: FakeClock) -> None:
    me = hub.current
    answer = Reason("a native call")

    def finished() -> None:
        hub.external -= 1
        hub.wake(me, answer)

    def call() -> None:
        time.sleep(0.02)
        hub.post(finished)

    hub.external += 1
    thread = threading.Thread(target=call)
    thread.start()
    assert hub.park(answer, clock() + 1)
    thread.join()
    assert clock() == 0


def test_no_jump_while_the_clock_is_held(hub: Hub, clock: FakeClock) -> None:
    me = hub.current
    answer = Reason("a native thread")

    def wake() -> None:
        time.sleep(0.02)
        hub.post(lambda: hub.wake(me, answer))

    thread = threading.Thread(target=wake)
    with clock.hold():
        assert clock.held
        with clock.hold():
            thread.start()
        assert clock.held
        assert hub.park(answer, clock() + 1)
    thread.join()
    assert (clock(), clock.held) == (0, False)


def test_no_jump_over_a_post(hub: Hub, clock: FakeClock) -> None:
    me = hub.current
    answer = Reason("a post")
    hub.post(lambda: hub.wake(me, answer))
    assert hub.park(answer, clock() + 1)
    assert clock() == 0


def test_no_jump_over_a_descriptor_that_becomes_ready_soon() -> None:
    with fresh_hub(clock := FakeClock(patience=5)) as hub:
        reading, writing = os.pipe()
        watch = hub.watches[reading] = Watch(reading)
        watch.reader = hub.current
        hub.poller.arm(watch)
        thread = threading.Timer(0.02, os.write, [writing, b"x"])
        thread.start()
        assert hub.park(watch, clock() + 1)
        assert clock() == 0
        hub.forget(watch)
        thread.join()
    os.close(reading)
    os.close(writing)


def test_the_clock_jumps_when_a_descriptor_is_not_ready(hub: Hub, clock: FakeClock) -> None:
    reading, writing = os.pipe()
    watch = hub.watches[reading] = Watch(reading)
    watch.reader = hub.current
    hub.poller.arm(watch)
    assert not hub.park(watch, clock() + 1)
    assert clock() == 1
    watch.reader = None
    hub.forget(watch)
    os.close(reading)
    os.close(writing)


def test_a_clock_says_what_time_it_is() -> None:
    clock = FakeClock(2.5)
    assert (clock(), repr(clock)) == (2.5, "<FakeClock at 2.5 s>")
    with clock.hold():
        assert repr(clock) == "<FakeClock at 2.5 s, held>"
    with pytest.raises(ValueError, match="patience"):
        FakeClock(patience=-1)


# -- The fresh hub


def test_the_old_hub_comes_back(hub: Hub) -> None:
    mine = graftlet.getcurrent()
    with fresh_hub() as other:
        assert graftlet.get_hub() is other is not hub
        assert graftlet.getcurrent() is other.main is not mine
        graftlet.spawn(graftlet.sleep, 5).join()
    assert graftlet.get_hub() is hub
    assert graftlet.getcurrent() is mine
    graftlet.spawn(graftlet.sleep, 5).join()


def test_a_thread_without_a_hub_has_none_afterwards() -> None:
    found: list[object] = []

    def run() -> None:
        from graftlet.core._current import hub_or_none

        found.append(hub_or_none())
        with fresh_hub() as hub:
            found.append(hub.current is hub.main)
            graftlet.spawn(graftlet.sleep, 5).join()
        found.append(hub_or_none())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [None, True, None]


def test_a_fresh_hub_on_a_real_clock() -> None:
    with fresh_hub(time.monotonic) as hub:
        before = hub.clock()
        graftlet.sleep(0.01)
        assert 0.01 <= time.monotonic() - before < 10


def test_what_still_lives_is_killed_at_the_end() -> None:
    ended = []

    def stubborn() -> None:
        for _ in range(3):
            try:
                graftlet.sleep(10)
            except graftlet.GreenletExit:
                ended.append("stubborn")

    def tidy() -> None:
        try:
            park_for_ever()
        finally:
            graftlet.sleep(10)
            ended.append("never: killed while it slept")

    def program() -> None:
        graftlet.spawn_link(stubborn)
        graftlet.spawn(tidy)
        graftlet.spawn_later(100, ended.append, "never: later")
        graftlet.Timeout(50).start()
        wait_all_parked()
        graftlet.spawn(ended.append, "never: unborn")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), fresh_hub():
        program()
    assert ended == ["stubborn"] * 3


def leave_living(function: Callable[[], object]) -> greenlet.greenlet:
    with fresh_hub():
        living = graftlet.spawn(function)
        wait_all_parked()
    assert living.raw is not None
    return living.raw


def test_what_cannot_be_killed_is_told() -> None:
    stop: list[bool] = []

    def immortal() -> None:
        while not stop:
            try:
                graftlet.sleep(10)
            except graftlet.GreenletExit:
                pass

    with pytest.warns(ResourceWarning, match="immortal.* still live"):
        raw = leave_living(immortal)
    # Its hub is closed: an honest end by hand, before the garbage collector makes one.
    stop.append(True)
    raw.parent = greenlet.getcurrent()
    while not raw.dead:
        raw.throw()


# -- Order


def test_wait_all_parked_waits_for_many_rounds(hub: Hub, clock: FakeClock) -> None:
    seen: list[object] = []

    def busy() -> None:
        for step in range(5):
            seen.append(step)
            graftlet.sleep(0)
        graftlet.sleep(1)
        seen.append("slept")

    busy_one = graftlet.spawn(busy)
    hub.post(lambda: seen.append("posted"))
    wait_all_parked()
    assert sorted(seen, key=str) == [0, 1, 2, 3, 4, "posted"]
    assert clock() == 0
    busy_one.join()


def test_several_wait_for_all_to_be_parked() -> None:
    seen = []

    def wait(name: str) -> None:
        wait_all_parked()
        seen.append(name)

    greenlets = [graftlet.spawn(wait, name) for name in "ab"]
    wait_all_parked()
    graftlet.joinall(greenlets)
    assert seen == ["a", "b"]


@pytest.mark.usefixtures("shuffled_hub")
def test_a_sequencer_puts_parts_in_order() -> None:
    in_order = Sequencer()
    seen = []

    def part(position: int) -> None:
        with in_order(position):
            seen.append(position)
            graftlet.sleep(0)
            seen.append(position)

    graftlet.joinall([graftlet.spawn(part, position) for position in (4, 2, 0, 3, 1)])
    assert seen == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_a_sequencer_goes_on_after_an_exception() -> None:
    in_order = Sequencer()
    with pytest.raises(ZeroDivisionError), in_order(0):
        raise ZeroDivisionError
    with in_order(1):
        pass


def test_a_position_is_used_once() -> None:
    in_order = Sequencer()
    with in_order(0):
        pass
    with pytest.raises(ValueError, match="used before"), in_order(0):
        pass
    with pytest.raises(ValueError, match="negative"), in_order(-1):
        pass


def test_a_position_that_was_given_up_breaks_the_sequence() -> None:
    in_order = Sequencer()
    outcomes = []

    def wait(position: int) -> None:
        try:
            with in_order(position):
                outcomes.append(f"{position} ran")
        except RuntimeError as error:
            outcomes.append(f"{position}: {str(error).rpartition(': ')[2]}")

    later = graftlet.spawn(wait, 2)
    victim = graftlet.spawn(wait, 1)
    wait_all_parked()
    victim.kill()
    graftlet.joinall([victim, later])
    wait(3)
    assert outcomes == [
        "2: an earlier position was given up",
        "3: an earlier position was given up",
    ]


def run_order(seed: int) -> list[int]:
    seen: list[int] = []
    with fresh_hub(seed=seed):
        graftlet.joinall([graftlet.spawn(seen.append, number) for number in range(20)])
    return seen


def test_a_shuffled_order_is_repeated_by_its_seed() -> None:
    assert run_order(1) == run_order(1) != run_order(2)
    assert sorted(run_order(1)) == list(range(20)) != run_order(1)


def is_shuffled(hub: Hub) -> bool:
    return hub.shuffle is not None


def test_a_failure_prints_the_seed(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    with shuffled() as seed:
        assert is_shuffled(hub)
    assert not is_shuffled(hub)
    assert capsys.readouterr().err == ""
    with pytest.raises(ZeroDivisionError), shuffled() as seed:
        raise ZeroDivisionError
    assert not is_shuffled(hub)
    assert f"shuffled({seed})" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError), fresh_hub(seed=42):
        raise ZeroDivisionError
    assert "shuffled(42)" in capsys.readouterr().err


# -- Switches


def test_a_switch_is_seen() -> None:
    with assert_switches():
        graftlet.sleep(0)
    with assert_switches():
        graftlet.spawn(lambda: None).join()
    with pytest.raises(AssertionError, match="never did"), assert_switches():
        graftlet.spawn(lambda: None)
    graftlet.sleep(0)


def test_a_yield_is_a_switch_also_if_nobody_else_is_there() -> None:
    with fresh_hub(time.monotonic):  # on a real clock: who yields goes on at once
        for _ in range(100):
            graftlet.sleep(0)
            with assert_switches():
                graftlet.sleep(0)
            with pytest.raises(AssertionError, match="should not have"), assert_no_switches():
                graftlet.sleep(0)


def test_a_switch_is_seen_also_if_the_block_raises() -> None:
    with pytest.raises(graftlet.Timeout), assert_switches(), graftlet.Timeout(1):
        graftlet.sleep(2)
    with pytest.raises(AssertionError, match="never did") as raised, assert_switches():
        raise ZeroDivisionError
    assert isinstance(raised.value.__context__, ZeroDivisionError)


def sleep_where_it_is_forbidden() -> None:
    with assert_no_switches():
        graftlet.sleep(0)


def test_an_unwanted_switch_is_shown() -> None:
    with assert_no_switches():
        graftlet.spawn(lambda: None)
    with pytest.raises(AssertionError, match=r"at test_testing\.py:\d+ in sleep_where"):
        sleep_where_it_is_forbidden()


def test_only_the_own_switches_count() -> None:
    outcomes = []

    def quiet() -> None:
        with assert_no_switches():
            outcomes.append("quiet")

    def noisy() -> None:
        with assert_switches():
            graftlet.sleep(1)
        outcomes.append("noisy")

    with assert_switches():
        graftlet.joinall([graftlet.spawn(noisy), graftlet.spawn(quiet), graftlet.spawn(noisy)])
    assert outcomes == ["quiet", "noisy", "noisy"]


def test_the_trace_function_of_somebody_else_goes_on() -> None:
    events: list[str] = []
    greenlet.settrace(lambda event, _: events.append(event))
    try:
        with assert_switches():
            graftlet.sleep(0)
        seen = len(events)
        graftlet.sleep(0)
    finally:
        greenlet.settrace(None)
    assert seen >= 2
    assert len(events) > seen


# -- Leaks


def complaint() -> str:
    with pytest.raises(AssertionError) as raised:
        assert_hub_empty()
    return str(raised.value)


def test_an_empty_hub_is_empty() -> None:
    graftlet.joinall([graftlet.spawn(graftlet.sleep, 1) for _ in range(10)])
    assert_hub_empty()


def test_a_greenlet_that_is_left_is_named(hub: Hub) -> None:
    left = graftlet.spawn(park_for_ever)
    assert complaint() == f"{hub!r} is not empty:\n  {left!r} has not begun"
    wait_all_parked()
    assert f"{left!r} waits for {FOREVER!r}" in complaint()
    left.kill()
    assert f"{left!r} is ready to go on" in complaint()
    left.join()
    assert_hub_empty()


def test_a_killed_greenlet_that_never_began_is_not_left() -> None:
    graftlet.spawn(park_for_ever).kill()
    assert_hub_empty()


def test_a_timer_that_is_left_is_named() -> None:
    timeout = graftlet.Timeout(5)
    timeout.start()
    assert f"a timer for {timeout!r}, 5 s ahead" in complaint()
    timeout.cancel()
    assert_hub_empty()
    later = graftlet.spawn_later(7, park_for_ever)
    assert f"a timer for {later!r}, 7 s ahead" in complaint()
    later.kill()
    assert_hub_empty()


def test_everything_else_that_is_left_is_named(hub: Hub) -> None:
    reading, writing = os.pipe()
    watch = hub.watches[reading] = Watch(reading)
    watch.reader = hub.current
    hub.post(wait_all_parked)
    hub.external += 1
    hub.throw(hub.main, ZeroDivisionError("later"))
    try:
        text = complaint()
    finally:
        del hub.watches[reading]
        hub.inbox.clear()
        hub.external = 0
        hub.main.pending = None
        os.close(reading)
        os.close(writing)
    assert f"file descriptor {reading} is watched, somebody waits for reading" in text
    assert f"{wait_all_parked!r} was posted" in text
    assert "native calls are under way: 1" in text
    assert "ZeroDivisionError('later'), not raised in the main greenlet yet" in text


def test_the_check_may_be_made_by_any_greenlet() -> None:
    checker = graftlet.spawn(assert_hub_empty)
    checker.join()
    checker.get()


# -- Who blocked the hub (for the suite's own teardown)


def watching(hub: Hub) -> WatchingPoller:
    assert isinstance(hub.poller, WatchingPoller)
    return hub.poller


@pytest.mark.usefixtures("may_block_hub")
def test_blocking_natively_is_noted(hub: Hub) -> None:
    def block() -> None:
        graftlet.sleep(0)
        time.sleep(0.03)
        graftlet.sleep(0)

    graftlet.spawn(block).join()
    assert watching(hub).longest >= 0.03
    assert "block" in watching(hub).culprit


@pytest.mark.usefixtures("may_block_hub")
def test_computing_is_noted(hub: Hub) -> None:
    def compute() -> None:
        graftlet.sleep(0)
        until = time.thread_time() + 0.03
        while time.thread_time() < until:
            pass
        graftlet.sleep(0)

    graftlet.spawn(compute).join()
    assert watching(hub).longest >= 0.02


def test_blocking_while_nobody_else_is_there_is_not_noted(hub: Hub) -> None:
    graftlet.sleep(0)
    time.sleep(0.03)
    graftlet.sleep(0)
    assert watching(hub).longest < 0.03

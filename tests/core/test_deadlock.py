"""Deadlock: told only when nothing can ever run again, and then it tells all."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

import graftlet
from graftlet import Deadlock
from graftlet.core._poller import Watch
from graftlet.core._task import Reason
from graftlet.testing import FakeClock, fresh_hub, wait_all_parked

if TYPE_CHECKING:
    from graftlet.core._hub import Hub

NEVER = Reason("what never comes")


class Held:
    """Something that knows who holds it, as a lock does."""

    def __init__(self, holder: object) -> None:
        self.holder = holder

    def __repr__(self) -> str:
        return "a lock"


def park_for_ever() -> None:
    graftlet.get_hub().park(NEVER)


def test_main_gets_it_when_nobody_can_run(hub: Hub) -> None:
    for _ in range(2):  # as often as main waits in vain
        with pytest.raises(Deadlock):
            hub.park(NEVER)
    graftlet.sleep(1)


def test_the_text_names_everybody_and_what_he_waits_for(hub: Hub) -> None:
    holder = graftlet.spawn(park_for_ever)
    lock = Held(holder)

    def want() -> None:
        graftlet.get_hub().park(lock)

    wanting = graftlet.spawn(want)
    joining = graftlet.spawn(wanting.join)
    with pytest.raises(Deadlock) as raised:
        joining.join()
    first, *lines = str(raised.value).splitlines()
    graftlet.killall([holder, wanting, joining])

    def of(greenlet: graftlet.Greenlet) -> str:
        (line,) = [each for each in lines if f"{greenlet!r} waits" in each.replace("()>", ">")]
        return line.partition(" waits for ")[2]

    here = r"\S+test_deadlock\.py:\d+ in "
    assert first == "no greenlet can ever run again:"
    assert len(lines) == 4
    assert lines[0].startswith(f"  {hub.main!r} waits for <Greenlet at")
    assert re.fullmatch(rf".*, at {here}test_the_text_names_everybody.*", lines[0])
    assert re.fullmatch(rf"what never comes, at {here}park_for_ever", of(holder))
    assert re.fullmatch(rf"a lock, held by <Greenlet at .*park_for.*>, at {here}want", of(wanting))
    assert "want()>" in of(joining)


def test_many_are_named(hub: Hub) -> None:
    greenlets = [graftlet.spawn(park_for_ever) for _ in range(20)]
    with pytest.raises(Deadlock) as raised:
        graftlet.joinall(greenlets)
    assert str(raised.value).count("waits for what never comes") == 20
    graftlet.killall(greenlets)


def test_main_may_repair_it() -> None:
    parked = graftlet.spawn(park_for_ever)
    with pytest.raises(Deadlock):
        parked.join()
    parked.kill()
    parked.join()


# -- Somebody could still wake it


def test_a_deadline_is_no_deadlock(hub: Hub, clock: FakeClock) -> None:
    assert hub.park(NEVER, clock() + 5) is False
    parked = graftlet.spawn(park_for_ever)
    graftlet.spawn_later(7, parked.kill)
    parked.join()
    assert clock() == 12


def test_a_descriptor_is_no_deadlock(hub: Hub) -> None:
    reading, writing = os.pipe()
    watch = hub.watches[reading] = Watch(reading)
    watch.reader = hub.current
    hub.poller.arm(watch)
    thread = threading.Timer(0.02, os.write, (writing, b"x"))
    thread.start()
    assert hub.park(watch)
    thread.join()
    watch.reader = None
    hub.forget(watch)
    with pytest.raises(Deadlock):
        hub.park(NEVER)
    os.close(reading)
    os.close(writing)


def test_a_native_call_under_way_is_no_deadlock(hub: Hub) -> None:
    me = hub.current

    def finish() -> None:
        hub.external -= 1
        hub.wake(me, NEVER)

    hub.external += 1
    thread = threading.Timer(0.02, hub.post, (finish,))
    thread.start()
    assert hub.park(NEVER)
    thread.join()


def test_a_native_thread_that_lives_is_no_deadlock(hub: Hub) -> None:
    me = hub.current
    thread = threading.Timer(0.02, hub.post, (lambda: hub.wake(me, NEVER),))
    thread.start()
    assert hub.park(NEVER)
    thread.join()
    with pytest.raises(Deadlock):
        hub.park(NEVER)


def test_it_is_noticed_that_the_last_native_thread_ends() -> None:
    with fresh_hub(time.monotonic) as hub:
        ended = threading.Timer(0.02, list)
        ended.start()
        begun = time.monotonic()
        with pytest.raises(Deadlock, match="test_it_is_noticed"):
            hub.park(NEVER)
        assert 0.02 < time.monotonic() - begun < 10
        ended.join()


def test_a_signal_handler_is_no_deadlock(hub: Hub) -> None:
    me = hub.current

    def handle(number: int, frame: object) -> None:
        hub.post(lambda: hub.wake(me, NEVER))

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        assert hub.park(NEVER)
    finally:
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(Deadlock):
        hub.park(NEVER)


def test_idlers_and_finishers_are_no_deadlock() -> None:
    parked = graftlet.spawn(park_for_ever)
    graftlet.idle()
    assert graftlet.wait() is True
    parked.kill(block=True)


def test_another_threads_hub_never_gives_up() -> None:
    """Main is always there to wake it."""
    outcomes: list[object] = []
    ready = threading.Event()
    hubs: list[Hub] = []

    def run() -> None:
        with fresh_hub() as hub:
            hubs.append(hub)
            ready.set()
            outcomes.append(hub.park(NEVER))

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    hub = hubs[0]
    hub.post(lambda: hub.wake(hub.main, NEVER))
    thread.join()
    assert outcomes == [True]


def test_a_deadlock_reaches_main_only_and_others_go_on() -> None:
    outcomes: list[str] = []

    def careful() -> None:
        try:
            park_for_ever()
        except BaseException as error:
            outcomes.append(type(error).__name__)
            raise

    parked = graftlet.spawn(careful)
    with pytest.raises(Deadlock):
        graftlet.getcurrent().hub.park(NEVER)  # type: ignore[union-attr] # main has a hub
    wait_all_parked()
    assert outcomes == []
    parked.kill(block=True)
    assert outcomes == ["GreenletExit"]

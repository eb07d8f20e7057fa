"""Waiting for time and for greenlets: sleep, joinall, wait, iwait, killall, idle.

Rule: nothing here parks by itself but `sleep` and `idle`; the rest is built on ``Greenlet.join`` and
``rawlink``.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol, TypeVar

from greenlet import GreenletExit

from graftlet.core import _original
from graftlet.core._current import blocking_hub, get_hub
from graftlet.core._errors import Thrown, exception_from
from graftlet.core._greenlet import Greenlet
from graftlet.core._hub import Hub
from graftlet.core._task import Reason, finishers_wait, idlers_wait
from graftlet.core._timeout import Timeout
from graftlet.core._waitqueue import WaitQueue, deadline_after


class Linkable(Protocol):
    """What `wait` and `iwait` take: greenlets, events, results."""

    def ready(self) -> bool:
        """Whether there is nothing to wait for any more."""

    def rawlink(self, callback: Callable[[Any], object]) -> None:
        """Have ``callback`` called with the object when it is ready."""

    def unlink(self, callback: Callable[[Any], object]) -> None:
        """Take `rawlink` back."""


Waited = TypeVar("Waited", bound=Linkable)


#: What a sleeping task waits for.
sleeping: Final = Reason("a sleep to end")


def sleep(seconds: float = 0) -> None:
    """Let the others run for ``seconds``; with 0 or less, let everybody who is ready run once."""
    hub = blocking_hub()
    if hub is None:
        _original.sleep(max(0, seconds))
    elif seconds <= 0:
        hub.yield_now()
    else:
        sleep_until(hub, hub.clock() + seconds)


def sleep_until(hub: Hub, deadline: float) -> None:
    """Let the others run until ``deadline``, in the seconds of the hub's clock."""
    while hub.park(sleeping, deadline):
        pass  # a signal handler has run


def idle() -> None:
    """Wait until no other greenlet is ready to run and no event has come in."""
    hub = get_hub()
    task = hub.current
    hub.idlers.append(task)
    try:
        while task in hub.idlers:  # the hub takes it out when it is idle
            hub.park(idlers_wait)
    finally:
        if task in hub.idlers:
            hub.idlers.remove(task)


def spawn_later(
    seconds: float, function: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Greenlet:
    """As `graftlet.spawn`, but it starts only after ``seconds``."""
    greenlet = Greenlet(function, *args, **kwargs)
    greenlet.start_later(seconds)
    return greenlet


def spawn_link(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Greenlet:
    """As `graftlet.spawn`; when it ends, `LinkedExited` is raised in the current greenlet."""
    greenlet = Greenlet(function, *args, **kwargs)
    greenlet.link()
    greenlet.start()
    return greenlet


def spawn_link_value(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Greenlet:
    """As `spawn_link`, but only if it ends without an exception."""
    greenlet = Greenlet(function, *args, **kwargs)
    greenlet.link_value()
    greenlet.start()
    return greenlet


def spawn_link_exception(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Greenlet:
    """As `spawn_link`, but only if it ends with an exception."""
    greenlet = Greenlet(function, *args, **kwargs)
    greenlet.link_exception()
    greenlet.start()
    return greenlet


def iwait(
    objects: Iterable[Waited], timeout: float | None = None, count: int | None = None
) -> Iterator[Waited]:
    """Yield each of ``objects`` when it is ready.

    Args:
        objects: greenlets, events, results.
        timeout: seconds for all together; then the iteration simply ends.
        count: how many at most.
    """
    deadline = deadline_after(timeout)
    waited = list(objects)
    left = len(waited) if count is None else min(count, len(waited))
    ended: deque[Waited] = deque()
    arrivals = WaitQueue()

    def arrived(which: Any) -> None:
        ended.append(which)
        arrivals.wake_one()

    for each in waited:
        each.rawlink(arrived)
    try:
        while left > 0:
            turn = arrivals.enter(waited)
            try:
                while not ended:
                    if not turn.park(deadline):
                        return
            finally:
                arrivals.leave(turn, True)
            yield ended.popleft()
            left -= 1
    finally:
        for each in waited:
            each.unlink(arrived)


def wait(
    objects: Iterable[Waited] | None = None, timeout: float | None = None, count: int | None = None
) -> Any:
    """Wait until ``objects`` are ready, and return the list of those that are.

    Args:
        objects: greenlets, events, results; None: see below.
        timeout: seconds; None waits for ever.
        count: how many are enough; None: all.

    Without ``objects``: wait until nothing in this program can run any more but the caller, and return
    whether that came to pass in time.
    """
    if objects is not None:
        return list(iwait(objects, timeout, count))
    hub = get_hub()
    task = hub.current
    deadline = deadline_after(timeout)
    hub.finishers.append(task)
    try:
        while task in hub.finishers:  # the hub takes it out when nothing else can run
            if not hub.park(finishers_wait, deadline):
                return False
        return True
    finally:
        if task in hub.finishers:
            hub.finishers.remove(task)


def joinall(
    greenlets: Iterable[Greenlet],
    timeout: float | None = None,
    raise_error: bool = False,
    count: int | None = None,
) -> list[Greenlet]:
    """Wait for ``greenlets`` to end, and return those that have, in the order given.

    Args:
        timeout: seconds for all together; None waits for ever.
        raise_error: raise the exception of the first one that fails, as soon as it does.
        count: how many are enough; None: all.
    """
    all_of_them = list(greenlets)
    if raise_error or count is not None:
        for ended in iwait(all_of_them, timeout, count):
            if raise_error and not ended.successful():
                ended.get()
    else:
        deadline = deadline_after(timeout)
        for greenlet in all_of_them:
            if not greenlet.done and not greenlet.join_until(deadline):
                break
    return [greenlet for greenlet in all_of_them if greenlet.done]


def killall(
    greenlets: Iterable[Greenlet],
    exception: Thrown = GreenletExit,
    block: bool = True,
    timeout: float | None = None,
) -> None:
    """Kill all of ``greenlets``.

    Args:
        exception: what to raise in each (a class or an instance).
        block: whether to wait until all have ended.
        timeout: how many seconds to wait at most.

    Raises:
        Timeout: they have not all ended in time.
    """
    exception_from(exception)
    all_of_them: Sequence[Greenlet] = list(greenlets)
    current = get_hub().current
    suicide = None
    for greenlet in all_of_them:
        if greenlet is current:
            suicide = greenlet  # last, or the others would live on
        else:
            greenlet.kill(exception)
    if suicide is not None:
        suicide.kill(exception)
    if block:
        ended = joinall(all_of_them, timeout)
        if len(ended) < len(all_of_them):
            raise Timeout(timeout)

"""A hub for one test, and the old one back after it.

Rule: whatever happens within the block, afterwards the thread has the hub that it had before (or
none), and the fresh one's greenlets, descriptors and deadlines are gone.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from graftlet.core._current import hub_or_none, per_thread
from graftlet.core._greenlet import Greenlet, make_hub
from graftlet.core._hub import Hub
from graftlet.core._links import LinkedExited
from graftlet.core._task import Task
from graftlet.core._timeout import Timeout
from graftlet.testing._clock import FakeClock, FakePoller
from graftlet.testing._order import shuffled

#: So often a greenlet that catches GreenletExit is killed again.
_PATIENCE = 100


@contextmanager
def fresh_hub(
    clock: Callable[[], float] | None = None, *, seed: int | None = None
) -> Iterator[Hub]:
    """Within the ``with`` statement the current native thread has a hub of its own.

    Args:
        clock: what its deadlines go by: a real clock or a `FakeClock`; None: a new one of these.
        seed: its greenlets run in an order shuffled with this seed (see `shuffled`); None: in order.

    Whoever enters the block is the hub's main greenlet; `graftlet.get_hub` returns the hub. At the end
    the greenlets that still live are killed and the hub is closed: ask `assert_hub_empty` before
    that if there should be none.
    """
    before = hub_or_none()
    hub = make_hub()
    hub.clock = clock = FakeClock() if clock is None else clock
    if isinstance(clock, FakeClock):
        hub.poller = FakePoller(hub, clock)
    per_thread.hub = hub
    try:
        if seed is None:
            yield hub
        else:
            with shuffled(seed):
                yield hub
    finally:
        try:
            if not hub.closed:
                _end_greenlets(hub)
        finally:
            hub.close()
            if before is None:
                del per_thread.hub
            else:
                per_thread.hub = before


def living_tasks(hub: Hub) -> list[Task]:
    """Every task of ``hub`` that is ready or parked, main aside."""
    tasks = [worker.task for worker in hub.workers if worker.task is not None]
    return [*tasks, *(task for task in hub.ready if task.raw is None and not task.done)]


def _end_greenlets(hub: Hub) -> None:
    hub.shuffle = None
    living = living_tasks(hub)
    for _ in range(_PATIENCE):
        for task in living:
            assert isinstance(task, Greenlet)
            task.kill()
        hub.main.pending = None  # what was meant for the block comes too late, ...
        try:
            hub.yield_now()
        except (LinkedExited, Timeout):
            pass  # ... and what comes now as well
        living = living_tasks(hub)
        if not living:
            return
    warnings.warn(
        f"fresh_hub: {living!r} still live after being killed {_PATIENCE} times",
        ResourceWarning,
        stacklevel=4,
    )

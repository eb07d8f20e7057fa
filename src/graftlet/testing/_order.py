"""Who runs when: made certain, or made uncertain on purpose.

Rule: a test that depends on an order says which; one that must not depend on any runs shuffled, by a
seed that a failure prints.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from graftlet.core._current import get_hub
from graftlet.core._task import Reason
from graftlet.core._waiting import idle
from graftlet.core._waitqueue import WaitQueue


def wait_all_parked() -> None:
    """Wait until every other greenlet is parked, and no event and no post from a thread is pending.

    The clock does not move meanwhile. If several greenlets wait in here, they go on together.
    """
    idle()


class Sequencer:
    """Makes parts of several greenlets run in a given order.

    Each part is a ``with`` statement with its position; position 0 runs at once, every other
    one waits until the one before it has been left::

        in_order = Sequencer()

        def first():
            with in_order(0):
                ...
            with in_order(2):
                ...

        def second():
            with in_order(1):
                ...
    """

    def __init__(self) -> None:
        self._next = 0
        self._taken: set[int] = set()
        self._broken = False
        self._waiters = WaitQueue()

    @contextmanager
    def __call__(self, position: int) -> Iterator[None]:
        """Wait for this position's turn.

        Raises:
            ValueError: ``position`` is negative, or was used before.
            RuntimeError: who waited for a position was killed or timed out, so that this one's turn
                can't come any more.
        """
        if position < 0 or position in self._taken:
            raise ValueError(f"{self!r}: position {position} is negative or was used before")
        self._taken.add(position)
        self._wait_for(position)
        try:
            yield
        finally:
            self._next = position + 1
            self._waiters.wake_all()

    def _wait_for(self, position: int) -> None:
        turn = self._waiters.enter(Reason(f"position {position} of {self!r}"))
        given_up = True
        try:
            while self._next != position and not self._broken:
                turn.park()
                if self._next != position and not self._broken:
                    self._waiters.enter_again(turn)
            given_up = False
        finally:
            self._waiters.leave(turn, True)
            if given_up:
                self._broken = True
                self._waiters.wake_all()
        if self._broken:
            raise RuntimeError(f"{self!r}: an earlier position was given up")


@contextmanager
def shuffled(seed: int | None = None) -> Iterator[int]:
    """Within the ``with`` statement the current hub runs what is ready in a random order.

    Args:
        seed: the same seed gives the same order, as long as the program does the same. None: any.

    Yields the seed. If the block raises, the seed is printed on ``sys.stderr``.
    """
    if seed is None:
        seed = Random().getrandbits(32)
    hub = get_hub()
    before = hub.shuffle
    hub.shuffle = Random(seed)
    try:
        yield seed
    except BaseException:
        sys.stderr.write(f"graftlet.testing: the order was that of shuffled({seed})\n")
        raise
    finally:
        hub.shuffle = before

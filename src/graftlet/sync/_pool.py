"""`Pool`: a group with a limited number of members.

Rule: a place is a token of a semaphore, taken by whoever adds a greenlet and given back by the step that
takes the greenlet out of the group (see `graftlet.sync._group`). So they are served in order.
"""

from collections.abc import Iterable

from graftlet.core._greenlet import Greenlet
from graftlet.sync._group import Group
from graftlet.sync._semaphore import Semaphore


class Pool(Group):
    """A group that has at most ``size`` members; `spawn` and `add` wait until there is room.

    Args:
        size: None: any number.
        greenlets: the first members.

    Raises:
        ValueError: ``size`` is negative.
    """

    __slots__ = ("size",)

    def __init__(self, size: int | None = None, greenlets: Iterable[Greenlet] = ()) -> None:
        if size is not None and size < 0:
            raise ValueError(f"Pool: the size must not be negative, but is {size}")
        super().__init__()
        #: How many members it has at most; None: any number.
        self.size = size
        if size is not None:
            self._places = Semaphore(size)
        for greenlet in greenlets:
            self.add(greenlet)

    def free_count(self) -> int:
        """How many more greenlets there is room for; 1 if there is no limit."""
        return 1 if self._places is None else self._places.counter

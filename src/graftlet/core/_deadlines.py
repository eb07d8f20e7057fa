"""Deadlines: one heap for everything that ends by time, with no timer made or cancelled per wait.

Rule: an `Alarm` has one wanted ``deadline`` (``INFINITY``: none) and a stack ``armed`` of its
entries in the heap. An entry never fires after the deadline but may well fire before it: then the
alarm is simply armed again. So a wait with a time-out costs one clock reading and two attribute
stores; a greenlet that reads a socket ten thousand times with ``settimeout(30)`` has one entry in
the heap, not ten thousand.

``armed`` is a linked stack of tuples ``(when, rest)`` with the earliest entry on top: an entry is
pushed only if it is earlier than all that the alarm has, hence the entry that leaves the heap is
always the alarm's top one.
"""

from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final, TypeAlias

INFINITY: Final = float("inf")

Armed: TypeAlias = "tuple[float, Armed] | None"


class Alarm:
    """Something that has a deadline. Subclasses say in `due` what happens when it has passed."""

    __slots__ = ("armed", "deadline")

    deadline: float
    armed: Armed

    def __init__(self) -> None:
        self.deadline = INFINITY
        self.armed = None

    def due(self) -> None:
        """The deadline has passed (it is ``INFINITY`` again by now). Must not block or raise."""
        raise NotImplementedError


class Deadlines:
    """The heap of armed alarms of one hub."""

    __slots__ = ("_sequence", "_superfluous", "heap")

    #: Below this size the heap is not worth a cleaning.
    CLEAN_FROM: Final = 64

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Alarm]] = []
        self._sequence = count()  # equal times fire in the order they were armed
        self._superfluous = 0  # at least so many entries would not be missed, or were not

    def __len__(self) -> int:
        return len(self.heap)

    def want(self, alarm: Alarm, deadline: float) -> None:
        """Set ``alarm``'s deadline (in the clock's seconds); pushes an entry only if it must."""
        alarm.deadline = deadline
        armed = alarm.armed
        if armed is None:
            alarm.armed = (deadline, None)
            heappush(self.heap, (deadline, next(self._sequence), alarm))
        elif deadline < armed[0]:
            alarm.armed = (deadline, armed)
            heappush(self.heap, (deadline, next(self._sequence), alarm))
            self._grows()

    def abandon(self, alarm: Alarm) -> None:
        """Nobody will ever want this alarm again. Its entries go at the next cleaning."""
        alarm.deadline = INFINITY
        if alarm.armed is not None:
            self._grows()

    def _grows(self) -> None:
        """One more entry is superfluous: clean when that is so of half of them."""
        self._superfluous += 1
        if self._superfluous > self.CLEAN_FROM and self._superfluous * 2 > len(self.heap):
            self._clean()

    def _clean(self) -> None:
        """Leave one entry for each alarm that is wanted: its earliest."""
        kept: dict[int, tuple[float, int, Alarm]] = {}
        for entry in self.heap:
            alarm = entry[2]
            if alarm.deadline == INFINITY:
                alarm.armed = None
            else:
                kept[id(alarm)] = min(entry, kept.get(id(alarm), entry))
        for when, _, alarm in kept.values():
            alarm.armed = (when, None)
        self.heap[:] = kept.values()
        heapify(self.heap)
        self._superfluous = 0

    def fire(self, now: float) -> float:
        """Call ``due`` of every alarm whose deadline is not after ``now``.

        Returns when the next entry fires, or ``INFINITY``.
        """
        heap = self.heap
        while heap:
            entry = heap[0]
            when = entry[0]
            if when > now:
                return when
            heappop(heap)
            alarm = entry[2]
            armed = alarm.armed
            # Invariant: the entry that fires is the top of its alarm's stack.
            alarm.armed = armed[1] if armed is not None else None
            deadline = alarm.deadline
            if deadline <= now:
                alarm.deadline = INFINITY
                alarm.due()
            elif deadline != INFINITY:
                self.want(alarm, deadline)
        return INFINITY

    def earliest_wanted(self) -> float:
        """When the next entry fires that somebody still wants, or ``INFINITY``.

        For the hub that is about to sleep: entries nobody wants any more leave the heap's top.
        """
        heap = self.heap
        while heap:
            entry = heap[0]
            alarm = entry[2]
            if alarm.deadline != INFINITY:
                return entry[0]
            heappop(heap)
            armed = alarm.armed
            alarm.armed = armed[1] if armed is not None else None
        return INFINITY

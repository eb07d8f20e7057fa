"""Queues between greenlets, native threads included. `Empty` and `Full` are those of `queue`."""

from graftlet.sync._channel import Channel
from graftlet.sync._queue import JoinableQueue, LifoQueue, PriorityQueue, Queue
from graftlet.sync._queue_errors import Empty, Full, ShutDown
from graftlet.sync._simple_queue import SimpleQueue

__all__ = (
    "Channel",
    "Empty",
    "Full",
    "JoinableQueue",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "ShutDown",
    "SimpleQueue",
)

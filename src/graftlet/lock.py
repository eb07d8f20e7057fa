"""Locks, semaphores and conditions, for greenlets and native threads alike."""

from graftlet.sync._condition import Condition
from graftlet.sync._lock import Lock
from graftlet.sync._rlock import RLock
from graftlet.sync._semaphore import BoundedSemaphore, Semaphore

__all__ = ("BoundedSemaphore", "Condition", "Lock", "RLock", "Semaphore")

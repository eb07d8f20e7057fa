"""Locks, events, queues, pools and greenlet-local data, all on the one wait queue of the core."""

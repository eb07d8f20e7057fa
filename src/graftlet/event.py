"""Something that happens once: an event to wait for, a result that somebody will set."""

from graftlet.sync._event import AsyncResult, Event

__all__ = ("AsyncResult", "Event")

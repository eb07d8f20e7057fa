"""py-amqp (below kombu and Celery): a greenlet that is killed does not tear a frame apart.

Rule: py-amqp is written in Python and needs nothing to be cooperative. But what it has read of a frame it keeps only
when a time-out of the socket ends the reading: after any other exception the rest of the frame is taken for the
beginning of the next one, and kombu, which closes a connection then, waits for an answer that it can't find any
more. So what is thrown into a greenlet that reads (it is killed, a `Timeout` passes, Ctrl-C) goes
through py-amqp as such a time-out, and goes on as what it is.
"""

import sys
from functools import wraps
from typing import Any, Final

from graftlet.patch._changes import Change

#: Under this name a transport keeps what was thrown, from its ``_read`` to its ``read_frame``.
_THROWN: Final = "_graftlet_thrown"


def _reads_bytes(native: Any) -> Any:
    @wraps(native)
    def _read(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return native(self, *args, **kwargs)
        except Exception:
            raise
        except BaseException as thrown:
            setattr(self, _THROWN, thrown)
            raise TimeoutError from None

    return _read


def _reads_frame(native: Any) -> Any:
    @wraps(native)
    def read_frame(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return native(self, *args, **kwargs)
        except Exception:
            thrown = vars(self).pop(_THROWN, None)
            if thrown is None:
                raise
        raise thrown

    return read_frame


#: By class and name: always the same objects, however often it is patched.
_methods: Final[dict[tuple[Any, str], Any]] = {}


def find() -> list[Change]:
    """What the adapter changes."""
    module = sys.modules.get("amqp.transport")
    changes = []
    for kind, name, make in (
        ("TCPTransport", "_read", _reads_bytes),
        ("SSLTransport", "_read", _reads_bytes),
        ("_AbstractTransport", "read_frame", _reads_frame),
    ):
        owner = getattr(module, kind, None)
        if owner is None or name not in vars(owner):
            continue
        key = owner, name
        if key not in _methods:
            _methods[key] = make(vars(owner)[name])
        changes.append(Change(owner, name, _methods[key], sweep=False))
    return changes

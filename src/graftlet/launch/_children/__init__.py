"""``--follow-children``: Python processes that the program starts run under graftlet too.

How: this package's directory goes first on PYTHONPATH, and in it is a ``sitecustomize.py``, which
``site`` imports in every interpreter before the program starts. It takes the directory off
``sys.path`` again, patches, and hands over to the ``sitecustomize`` that would have been
imported without it. So it holds for children of children, for ``subprocess``, for
multiprocessing's spawn and forkserver, and for servers that exec their workers. Children made by
``os.fork`` alone are patched already, with or without this. Nothing is written to the
environment's files (a ``.pth`` would also hit programs that were not started by graftlet).

Limits, all of them those of PYTHONPATH and ``site``:

- A child that is started with ``-I``, ``-E`` or ``-S``, or with an environment of its own that
  lacks PYTHONPATH, is not followed. multiprocessing passes ``-I`` and ``-E`` on from its parent.
- The child must find graftlet. In another virtual environment without it, or a Python older than
  3.10, the child runs as if the option had not been given; an embedded interpreter that does
  not import ``site`` as well.
- Every Python child is patched, tools like pip included. ``GRAFTLET=0`` in a child's environment
  switches it off for that child.
- The program and its children see the longer PYTHONPATH in ``os.environ``.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ("follow",)


def follow(environment: MutableMapping[str, str]) -> None:
    """Make Python processes that get ``environment`` start patched. Twice is as good as once."""
    directory = os.path.dirname(os.path.abspath(__file__))
    path = environment.get("PYTHONPATH", "")
    if path.split(os.pathsep)[0] != directory:
        environment["PYTHONPATH"] = directory + os.pathsep + path if path else directory

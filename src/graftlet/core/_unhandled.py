"""What becomes of an exception that nobody asked for: printed once, never swallowed.

Rule: one place prints. A hook that is set (``graftlet.get_hub().on_unhandled``) replaces the printing;
if the hook itself fails, both exceptions are printed.
"""

import sys
from typing import TYPE_CHECKING

from graftlet.core._hub import Hub

if TYPE_CHECKING:
    from graftlet.core._greenlet import Greenlet


def report_unhandled(hub: Hub, task: "Greenlet", error: BaseException, where: str = "") -> None:
    """Tell the hub's hook, or print ``error`` with its traceback and the greenlet that it ended."""
    if hub.on_unhandled is not None:
        try:
            hub.on_unhandled(task, error)
            return
        except Exception as hook_error:
            print_unhandled(task, hook_error, "in the hook for unhandled exceptions, called for")
    print_unhandled(task, error, where)


def print_unhandled(task: "Greenlet", error: BaseException, where: str = "") -> None:
    """Print ``error`` on ``sys.stderr``, which may be None (``pythonw``) and then takes nothing."""
    stderr = sys.stderr
    if stderr is None:
        return
    import traceback

    lines = traceback.format_exception(type(error), error, error.__traceback__)
    site = task.spawned_at
    lines.append(f"{type(error).__name__} {where or 'ended'} {task!r}")
    lines.append(f", spawned at {site}\n" if site else "\n")
    try:
        stderr.write("".join(lines))
        stderr.flush()
    except (OSError, ValueError):
        pass  # full, closed: there is no place left to tell it (PyErr_Display does the same)

"""What goes with the preemption of threads that never wait (`graftlet.core._preempt`).

Rule: exec(3) leaves a process's timers running (execve(2)), and the new program would be killed by the
first signal. So the timer is stopped before, and started again if the call fails.
"""

import os
from typing import Any, Final

from graftlet.core._current import in_main_thread
from graftlet.core._preempt import preempter
from graftlet.io._builtin import Functions


class ExecFunctions(Functions):
    """What takes the place of functions of module ``os`` that replace the process's program."""

    __slots__ = ()

    def execv(self, path: Any, argv: Any, /) -> None:
        """As ``os.execv``."""
        was_on = preempter.is_on
        preempter.stop_timer()
        try:
            native_execv(path, argv)
        finally:
            if was_on:
                preempter.start()

    def execve(self, path: Any, argv: Any, env: Any) -> None:
        """As ``os.execve``."""
        was_on = preempter.is_on
        preempter.stop_timer()
        try:
            native_execve(path, argv, env)
        finally:
            if was_on:
                preempter.start()


def settle(patched: bool) -> None:
    """Threads are greenlets from now on, or no longer."""
    if patched:
        preempter.allowed = True
    elif in_main_thread():
        preempter.allowed = False
        preempter.stop()
    else:
        preempter.allowed = False
        preempter.stop_timer()


native_execv: Final[Any] = os.execv
native_execve: Final[Any] = os.execve
functions: Final = ExecFunctions()

"""``input()``, while a person thinks.

Rule: what is no terminal is a file like others, and CPython's own ``input`` reads it. On a terminal C would
read by itself: there a line is read from ``sys.stdin``, and the terminal is a file like others, too. Only
where the program has loaded ``readline``, which is C, others must wait while a person types; they run until
the first key is hit.
"""

import os
import select
import sys
from typing import Any, Final

from graftlet.core import _original
from graftlet.core._current import hub_or_none
from graftlet.core._hub import Hub
from graftlet.io._builtin import Functions
from graftlet.io._os import is_ready
from graftlet.io._wait import READ, wait_descriptor


def _on_terminal() -> bool:
    """Whether a line that is read comes from a person, as builtin_input_impl in bltinmodule.c has it."""
    try:
        return (
            sys.stdin.fileno() == 0
            and sys.stdout.fileno() == 1
            and os.isatty(0)
            and os.isatty(1)
            and sys.stderr is not None
        )
    except (AttributeError, OSError, ValueError):
        return False


def _is_alone(hub: Hub) -> bool:
    """Whether there is nobody but main."""
    if hub.ready or hub.inbox or hub.external:
        return False
    return all(worker.task is None for worker in hub.workers)


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _edited_line(prompt: str) -> str:
    """A line that ``readline`` lets a person edit, which only C can do: parks until the first key is hit."""
    import termios

    *lines, last = prompt.split("\n")
    hub = hub_or_none()
    if hub is not None:
        # The prompt without readline's marks for what takes no room on the screen.
        shown = "\n".join([*lines, last.replace("\1", "").replace("\2", "")])
        _show(shown)
        usual = termios.tcgetattr(0)
        by_key: list[Any] = [*usual[:3], usual[3] & ~(termios.ICANON | termios.ECHO), *usual[4:]]
        termios.tcsetattr(0, termios.TCSADRAIN, by_key)
        try:
            while not is_ready(0, select.POLLIN):
                wait_descriptor(hub, 0, READ)
        finally:
            termios.tcsetattr(0, termios.TCSADRAIN, usual)
            _show("\r")  # readline will print the last line of the prompt again
        prompt = last
    return _original.read_line(prompt)


class InputFunctions(Functions):
    """What takes the place of functions of module ``builtins``."""

    __slots__ = ()

    def input(self, prompt: Any = "", /) -> str:
        """As ``input``; other greenlets run while a person thinks."""
        hub = hub_or_none()
        if hub is None or not _on_terminal():
            return _original.read_line(prompt)  # reads sys.stdin, a file like others
        sys.stderr.flush()
        if "readline" in sys.modules:
            if _is_alone(hub):
                return _original.read_line(prompt)  # there is nobody who would have to wait
            return _edited_line(str(prompt))
        sys.audit("builtins.input", prompt)
        text = str(prompt)
        if "\0" in text:
            raise ValueError("input: prompt string cannot contain null characters")
        _show(text)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        line = line.removesuffix("\n")
        sys.audit("builtins.input/result", line)
        return line


functions: Final = InputFunctions()

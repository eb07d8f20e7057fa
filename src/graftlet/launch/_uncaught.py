"""An exception that leaves the program is reported as if the launcher were not there.

Rule: the interpreter reports it, not we. It alone knows how to exit: SystemExit and its text,
the status of an interrupt (the process ends by SIGINT), ``python -i``. All that is done here is
to cut the traceback back to the program's part at the last moment, when ``sys.excepthook`` is
called. On its way to the interpreter the exception gets one entry more from each of the
launcher's frames, so it can't be done any earlier.

After an interrupt the runtime's frames at the other end go as well: it is where Ctrl-C happened to
find the program, and under plain ``python`` that is a call into C, without a frame. For any other
exception they stay: they may be what is to be found out.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


def hide_launcher(
    error: BaseException, program: TracebackType | None, afterwards: Callable[[], None] | None
) -> None:
    """Have ``error`` shown with the traceback ``program`` by the hook that is set now.

    The hook is back in its place before it runs, so a program's own hook sees itself.

    :param afterwards: called when the hook has returned.
    """
    if isinstance(error, SystemExit) and not sys.flags.inspect:
        return  # never reaches a hook
    if isinstance(error, KeyboardInterrupt):
        _leave_runtime(program)
    hook = getattr(sys, "excepthook", sys.__excepthook__)

    def without_launcher(
        kind: type[BaseException], value: BaseException, traceback: TracebackType | None
    ) -> None:
        sys.excepthook = hook
        if value is error:  # not if something else happened on the way up
            traceback = program
            value.__traceback__ = program
            if getattr(sys, "last_value", None) is value:
                sys.last_traceback = program
        try:
            hook(kind, value, traceback)
        except SystemExit:
            raise
        except BaseException as failure:
            # What CPython's PyErr_PrintEx writes; there this frame would be in the first part.
            inner = failure.__traceback__
            failure.__traceback__ = None if inner is None else inner.tb_next
            sys.stderr.write("Error in sys.excepthook:\n")
            sys.__excepthook__(type(failure), failure, failure.__traceback__)
            sys.stderr.write("\nOriginal exception was:\n")
            sys.__excepthook__(kind, value, traceback)
        if afterwards is not None:
            afterwards()

    sys.excepthook = without_launcher


def _leave_runtime(traceback: TracebackType | None) -> None:
    """End ``traceback`` at its last entry that is not graftlet's."""
    last = None
    while traceback is not None:
        name = traceback.tb_frame.f_globals.get("__name__")
        if not (isinstance(name, str) and name.startswith("graftlet.")):
            last = traceback
        traceback = traceback.tb_next
    if last is not None:
        last.tb_next = None

"""The ``graftlet`` command: run a program as ``python`` would run it, but cooperatively.

Rule: the program must not be able to tell, by anything it can see, that it was not started by
plain ``python``; and the user must not have to wait for the launcher. So nothing in this package
imports a module that the interpreter has not loaded already, unless the run at hand needs it
(no argparse, no logging, no inspect), and everything that ends the program is left to the
interpreter itself: exit status, ``sys.excepthook``, the joining of threads, atexit, the flush.

- ``_command`` reads the command line and decides nothing else.
- ``_find`` tells what the named thing is: a file, a directory or archive, an installed program.
- ``_run`` makes ``__main__``, ``sys.argv`` and ``sys.path[0]``, patches, and starts the program.
- ``_uncaught`` hides the launcher's own frames from a traceback that leaves the program.
- ``_doctor`` says, without running the program, what patching will do to it, and what it can't do;
  ``_importing`` tells what the program imports.
- ``_children`` makes Python children start patched (``--follow-children``).
"""

from __future__ import annotations

import sys

from graftlet.launch import _command, _run

__all__ = ("main",)


def main(argv: list[str] | None = None) -> None:
    """Run the program that the command line names.

    Returns when the program has run to its end, so that the interpreter can go on to its own
    end (joining threads, atexit callbacks) as it does after a script.

    :param argv: the arguments after the command's name; ``sys.argv[1:]`` if not given.
    :raises SystemExit: from the program, or at the end of ``doctor``; with status 2 for a wrong command line or a file that
        can't be opened, 1 for a module or ``__main__`` that can't be found, as ``python`` does.
    :raises BaseException: whatever the program does not catch. :data:`sys.excepthook` then shows
        it without the launcher's frames.
    """
    try:
        command = _command.parse(sys.argv[1:] if argv is None else argv)
    except _command.UsageError as error:
        sys.stderr.write(f"graftlet: {error}\n")
        sys.exit(2)
    if command.kind == "help":
        sys.stdout.write(_command.HELP)
    elif command.kind == "version":
        from importlib.metadata import version

        sys.stdout.write(f"graftlet {version('graftlet')}\n")
    elif command.kind == "doctor":
        from graftlet.launch import _doctor

        sys.exit(_doctor.examine(command))
    else:
        _run.run(command)

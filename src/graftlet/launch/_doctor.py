"""``graftlet doctor``: what graftlet will do to a program, and what it can't do, for a person to read.

Rule: the program is not run (see ``_importing``), and nothing is patched before its imports. So what is shown
is the hardest case, in which `graftlet.patch_all` comes last; ``graftlet script.py`` patches first. Everything
that is said comes from the table of what is patched, from the report of patching, or from ``_libraries``.
"""

from __future__ import annotations

import os
import sys
import warnings

from graftlet.launch._cpython import absolute_path
from graftlet.launch._find import NotPythonError, importable, installed_program
from graftlet.launch._importing import NAME, importing_code
from graftlet.launch._libraries import BLOCKING, HARMLESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from graftlet.launch._command import Command
    from graftlet.patch import Report


class NotFoundError(Exception):
    """There is no such program; the message says what was looked for."""


class Examination:
    """One program, and what was found out about it."""

    def __init__(self, shown: str) -> None:
        self.shown = shown
        #: How its own module was executed; None if it never was.
        self.whole: bool | None = None
        #: What its imports raised.
        self.failure: str | None = None

    def execute(self, source: bytes | str, file: str, package: str | None = None) -> None:
        """Do what the program does when it is imported, as far as that is no more than importing."""
        module = type(sys)(NAME)
        module.__file__ = file
        if package is not None:
            module.__package__ = package
        sys.modules[NAME] = module
        try:
            code, self.whole = importing_code(source, file)
            exec(code, module.__dict__)  # noqa: S102 - that is what was asked for
        except SystemExit as ending:
            self.failure = f"the imports ended the program: SystemExit({ending.code!r})"
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.failure = _failure(error)


def _failure(error: BaseException) -> str:
    return f"the imports failed: {type(error).__name__}: {error}{_place_of(error)}"


def _place_of(error: BaseException) -> str:
    entry = error.__traceback__
    place = ""
    while entry is not None:
        file = entry.tb_frame.f_code.co_filename
        if not file.startswith("<frozen ") and file != __file__:
            place = f" ({file}:{entry.tb_lineno})"
        entry = entry.tb_next
    return place


def examine(command: Command) -> int:
    """Examine the program, print what was found, and return the exit status.

    Returns: 0; 1 if the imports failed, or, with ``--strict``, if anything stays as it was; 2 if there is no
        such program.
    """
    try:
        examination = _import_module(command) if command.is_module else _import_file(command)
    except NotFoundError as error:
        sys.stderr.write(f"graftlet doctor: {error}\n")
        return 2
    threads = _native_threads()
    from graftlet.patch import patch_all

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the report has them
        report = patch_all()
    # Only now: what is printed is no part of the program.
    left = [*(str(place) for place in report.unreached), *threads]
    blocking = list(_blocking())
    _write(
        *_head(examination),
        *_replaced(report),
        *_libraries(blocking),
        *_left(left, report),
        *_verdict(examination, left, blocking),
    )
    status = int(examination.failure is not None or (command.strict and bool(left or blocking)))
    if threads:
        os._exit(status)  # a thread of the program's may run for ever
    return status


def _write(*lines: str) -> None:
    """Print the lines, as far as anybody reads them: ``graftlet doctor ... | head`` is no error."""
    try:
        for line in lines:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at its end, and would complain.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


# -- The program


def _import_file(command: Command) -> Examination:
    from graftlet.launch._run import _first_on_path, _leave_path

    name = command.target
    if not os.path.lexists(name):
        try:
            name = installed_program(name) or name
        except NotPythonError as error:
            raise NotFoundError(str(error)) from None
    path = absolute_path(name)
    _leave_path()
    sys.argv = [name]
    if importable(path):
        sys.path.insert(0, path)
        return _execute_found("__main__", name)
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        raise NotFoundError(f"can't open {path!r}: {error.strerror}") from None
    _first_on_path(os.path.dirname(os.path.realpath(path)))
    examination = Examination(name)
    examination.execute(source, path)
    return examination


def _import_module(command: Command) -> Examination:
    from graftlet.launch._run import _first_on_path, _leave_path

    _leave_path()
    _first_on_path(os.getcwd())
    sys.argv = ["-m"]
    return _execute_found(command.target, f"-m {command.target}")


def _execute_found(name: str, shown: str) -> Examination:
    """A module that the import system finds; of a package its ``__main__``, as ``python -m``."""
    from importlib.util import find_spec

    examination = Examination(shown)
    try:
        spec = find_spec(name) if name != "__main__" else _spec_of_main()
        if spec is not None and spec.submodule_search_locations is not None:
            __import__(name)
            spec = find_spec(f"{name}.__main__")
        if spec is None or spec.loader is None:
            raise NotFoundError(f"no module named {name!r}, or it can't be executed")
        source = getattr(spec.loader, "get_source", lambda _: None)(spec.name)
    except NotFoundError:
        raise
    except ModuleNotFoundError as error:
        raise NotFoundError(str(error)) from None
    except Exception as error:
        examination.failure = _failure(error)
        return examination
    if source is None:
        examination.failure = (
            f"{spec.name} has no source ({spec.origin}): its imports can't be told"
        )
    else:
        examination.execute(source, spec.origin or spec.name, spec.parent)
    return examination


def _spec_of_main() -> ModuleSpec | None:
    from importlib.machinery import PathFinder

    return PathFinder.find_spec("__main__", sys.path[:1])


def _native_threads() -> list[str]:
    """The threads that the imports have started: patching leaves these native."""
    threading = sys.modules.get("threading")
    if threading is None:
        return []
    return [
        f"thread {thread.name!r}, which an import has started, is and stays a native one"
        for thread in threading.enumerate()
        if thread is not threading.main_thread()
    ]


# -- The report, a line each


def _head(examination: Examination) -> Iterator[str]:
    yield f"graftlet doctor: {examination.shown}"
    if examination.whole is True:
        yield f"  Imported under the name {NAME}: what stands below"
        yield '  if __name__ == "__main__" was not run.'
    elif examination.whole is False:
        yield "  It does not ask for its __name__, so it was not run: only its import"
        yield "  statements were executed. Its own locks and the like were not made."
    if examination.failure is not None:
        yield f"  Incomplete: {examination.failure}"
    yield ""


def _replaced(report: Report) -> Iterator[str]:
    from graftlet.patch._table import GROUPS

    if report.already:
        yield "The program patches itself when it is imported; what that found is not known here."
        yield ""
        return
    yield f"graftlet will replace {len(report.replaced)} names of the standard library:"
    for name in report.groups:
        yield f"  {name + ' ':.<16} {GROUPS[name].what}"
    yield ""
    rebound = [str(place) for place in report.rebound]
    yield (
        f"It will rebind {_count(rebound, 'other reference')} and convert "
        f"{_count(report.converted, 'object')} (locks, queues, files) that exist already."
    )
    yield from _some(_of_the_program(rebound))
    yield ""


def _of_the_program(places: Iterable[str]) -> list[str]:
    return [
        place
        for place in places
        if place.partition(".")[0] not in sys.stdlib_module_names and "." in place.partition(" ")[0]
    ]


def _some(lines: list[str], most: int = 10) -> Iterator[str]:
    for line in lines[:most]:
        yield f"  {line.replace(NAME, '__main__')}"
    if len(lines) > most:
        yield f"  ... and {len(lines) - most} more"


def _blocking() -> Iterator[tuple[str, str]]:
    """The libraries that are loaded, block, and have no adapter: what to do about each."""
    for module, advice in BLOCKING.items():
        if module in sys.modules:
            yield module, advice.replace("{module}", module)


def _libraries(blocking: list[tuple[str, str]]) -> Iterator[str]:
    from graftlet.ext import adapters

    known = {module: adapter for adapter in adapters() for module in adapter.modules}
    loaded = [adapter for adapter in adapters() if adapter.loaded]
    yield "C libraries that wait by themselves:"
    for adapter in loaded:
        yield f"  {adapter.library}: nothing to do ({adapter.how})"
    for module, advice in blocking:
        yield f"  {module}: {advice}"
    if not (loaded or blocking):
        yield "  none that graftlet knows"
    unknown = sorted(
        {name.partition(".")[0] for name in _extensions() if name not in BLOCKING}
        - {module.partition(".")[0] for module in known}
        - HARMLESS
    )
    if unknown:
        yield f"  Of these it knows nothing; whether they wait, their makers know: {', '.join(unknown)}"
    yield ""


def _extensions() -> Iterator[str]:
    """The loaded modules in C that are not the standard library's."""
    from importlib.machinery import EXTENSION_SUFFIXES
    from sysconfig import get_path

    standard = tuple(os.path.join(get_path(name), "") for name in ("stdlib", "platstdlib"))
    for name, module in list(sys.modules.items()):
        file = _file_of(module)
        if file.endswith(tuple(EXTENSION_SUFFIXES)) and (
            not file.startswith(standard) or "-packages" in file
        ):
            yield name


def _file_of(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else ""


def _left(left: list[str], report: Report) -> Iterator[str]:
    for warning in report.warnings:
        yield f"Warning: {warning}"
    yield "Stays as it was, and will block:"
    yield from _some(left, most=len(left)) if left else ("  nothing",)
    yield ""


def _verdict(
    examination: Examination, left: list[str], blocking: list[tuple[str, str]]
) -> Iterator[str]:
    if examination.failure is not None:
        yield "Not all could be examined: see above."
    elif left or blocking:
        yield f"{_count([*left, *blocking], 'thing')} to look at."
    else:
        yield "All of it will be cooperative."
    if left:
        yield "Run as 'graftlet program' it is patched before its imports, and most of this does not arise."


def _count(things: Iterable[object], name: str) -> str:
    number = len(list(things))
    return f"{number} {name}" + ("" if number == 1 else "s")

"""Start the program, in the order and with the surroundings that CPython gives it.

Rule: between the program's first frame and :func:`run` there is nothing but C (``exec``), and
where ``python`` itself goes through runpy (``-m``, directories, archives) so do we, through the
function that CPython's Modules/main.c calls. So tracebacks, ``__main__`` and error messages are
the interpreter's own, not imitations.

While graftlet imports and patches, the directory that the interpreter put first on ``sys.path``
is away: a ``queue.py`` beside the script must not become graftlet's ``queue``.

What a program can still see: a few frames *below* its own, by ``sys._getframe``,
``traceback.print_stack`` or a warning whose stacklevel points past the program's first frame; and
that modules which graftlet needs are imported already. For a source file with zero bytes, or
bytes that are not in its declared encoding, the wording of the SyntaxError is :func:`compile`'s.
"""

from __future__ import annotations

import io
import os
import sys

from graftlet.launch._cpython import (
    FORGETS_FIRST,
    absolute_path,
    command_source,
    forget_file,
    new_main,
    remember_source,
)
from graftlet.launch._find import NotPythonError, importable, installed_program
from graftlet.launch._uncaught import hide_launcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, ModuleType
    from typing import NoReturn, TypeAlias

    from graftlet.launch._command import Command

    # A call that is the program, from its first line to its last.
    Start: TypeAlias = tuple[Callable[..., object], tuple[object, ...]]


def run(command: Command) -> None:
    """Run the program; return when it has run to its end.

    :raises SystemExit: from the program, or if it could not be found or opened.
    :raises BaseException: what the program did not catch.
    """
    _leave_path()
    if os.environ.get("GRAFTLET") != "0":
        _patch(command)
    way, name, target = _way(command)
    sys.argv = [name, *command.arguments]
    from_file = way in (_file, _stdin)
    try:
        start, arguments = way(target)
        try:
            start(*arguments)
        finally:
            if from_file:
                _flush()
                if FORGETS_FIRST:
                    forget_file()
    except BaseException as error:
        program = error.__traceback__
        while program is not None and program.tb_frame.f_globals is globals():
            program = program.tb_next
        hide_launcher(error, program, forget_file if from_file else None)
        raise
    if from_file:  # a second time does no harm
        forget_file()


def _leave_path() -> None:
    """Take away what the interpreter put first on ``sys.path`` for the launcher."""
    if not _safe_path():
        for entry in sys.path[:1]:
            sys.path_importer_cache.pop(entry, None)
        del sys.path[:1]


def _patch(command: Command) -> None:
    if command.follow_children:
        from graftlet.launch._children import follow

        follow(os.environ)
    if command.native:
        # For the program's children, too. The engine reads it.
        os.environ["GRAFTLET_NATIVE"] = os.environ.get("GRAFTLET_NATIVE", "") + "," + command.native
    from graftlet.patch import patch_all

    try:
        patch_all()
    except ValueError as error:  # such a name can't be a package's
        _give_up(f"graftlet: {error}")


def _way(command: Command) -> tuple[Callable[[str], Start], str, str]:
    """Tell how the program is started, its ``sys.argv[0]``, and what is to be started."""
    if command.kind == "module":
        return _module, "-m", command.target  # until runpy has found it and knows its file
    if command.kind == "code":
        return _code, "-c", command.target
    if command.kind == "stdin":
        return _stdin, "-", "<stdin>"
    name = command.target
    if not os.path.lexists(name):
        try:
            name = installed_program(name) or name
        except NotPythonError as error:
            _give_up(f"graftlet: {error}")
    path = absolute_path(name)
    return (_importable if importable(path) else _file), name, path


# ---- The ways: each puts __main__ and sys.path in their place and returns the call --------------


def _importable(path: str) -> Start:
    start = _as_module("__main__", alter_argv=False)
    sys.path.insert(0, path)  # in safe-path mode as well
    return start


def _file(path: str) -> Start:
    from importlib.machinery import SourceFileLoader, SourcelessFileLoader

    try:
        with io.open_code(path) as file:
            content = file.read()
    except OSError as error:
        _give_up(
            f"{sys.orig_argv[0]}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}"
        )
    _first_on_path(os.path.dirname(os.path.realpath(path)))  # no import of ours may come after it
    # The module is in its place before there is something to run: 'python -i' shows it if not.
    if path.endswith(".pyc") or _has_magic_number(content):
        module = _install(new_main(SourcelessFileLoader("__main__", path), path))
        return exec, (_from_bytecode(content), module.__dict__)
    module = _install(new_main(SourceFileLoader("__main__", path), path))
    return exec, (compile(content, path, "exec", dont_inherit=True), module.__dict__)


def _has_magic_number(content: bytes) -> bool:
    if content[2:4] != b"\r\n":  # always its second half; saves the import for nearly every file
        return False
    from importlib.util import MAGIC_NUMBER

    return content[:4] == MAGIC_NUMBER


def _from_bytecode(content: bytes) -> CodeType:
    import marshal

    if not _has_magic_number(content):
        raise RuntimeError("Bad magic number in .pyc file")
    # After 16 bytes: magic, flags, time stamp and size or hash (PEP 552).
    code = marshal.loads(content[16:])  # noqa: S302 -- a program: it is to be run in any case
    if not isinstance(code, type(_from_bytecode.__code__)):
        raise RuntimeError("Bad code object in .pyc file")  # noqa: TRY004 -- CPython's type
    return code


def _module(name: str) -> Start:
    start = _as_module(name, alter_argv=True)
    try:
        _first_on_path(os.getcwd())
    except FileNotFoundError:
        pass  # the directory was removed: CPython puts nothing on the path then
    return start


def _as_module(name: str, *, alter_argv: bool) -> Start:
    import runpy

    _install(new_main())
    # Not in runpy's __all__, but it is the one that CPython calls for these cases, since 2.5.
    return runpy._run_module_as_main, (name, alter_argv)  # type: ignore[attr-defined]


def _code(text: str) -> Start:
    text = command_source(text)
    module = _install(new_main())
    _first_on_path("")
    code = compile(text, "<string>", "exec", dont_inherit=True)
    remember_source(code, text)
    return exec, (code, module.__dict__)


def _stdin(name: str) -> Start:
    if sys.stdin is not None and sys.stdin.isatty():
        import code

        _first_on_path("")
        return code.interact, (None, None, _install(new_main()).__dict__, "")
    source = b"" if sys.stdin is None else sys.stdin.buffer.read()
    _first_on_path("")
    module = _install(new_main(file=name))
    return exec, (compile(source, name, "exec", dont_inherit=True), module.__dict__)


# ---- What they share --------------------------------------------------------------------------


def _install(module: ModuleType) -> ModuleType:
    # Assigned, not deleted first: the interpreter's clean-up at exit goes by this order.
    sys.modules["__main__"] = module
    return module


def _first_on_path(directory: str) -> None:
    if not _safe_path():
        sys.path.insert(0, directory)


def _flush() -> None:
    # CPython's flush_io at the end of a file: what was printed comes before the traceback. That it
    # can't be written is found out again, and reported, at the interpreter's end.
    for stream in (sys.stderr, sys.stdout):
        try:
            stream.flush()
        except Exception:  # noqa: S112 -- any stream may stand there, or None; see above
            continue


def _safe_path() -> bool:
    # python -I; -P and PYTHONSAFEPATH since 3.11: the interpreter put nothing first on sys.path.
    return bool(sys.flags.isolated or getattr(sys.flags, "safe_path", False))


def _give_up(message: str) -> NoReturn:
    sys.stderr.write(f"{message}\n")
    sys.exit(2)

"""Children that multiprocessing starts anew (spawn, forkserver) run under graftlet, too.

Rule: module ``multiprocessing`` is not imported here, and not changed. Its children are interpreters that it
starts through ``_posixsubprocess.fork_exec`` with a small program (``-c``): what is put before that program
patches the same groups that are patched in this process now. A fork server is patched before it forks; one
that runs already goes on serving the children that it has, and the next child gets another server. All
other processes, and multiprocessing's resource tracker, are started as they are.

``GRAFTLET=0`` in the environment leaves the children alone, as everywhere.
"""

import gc
import os
import re
import sys
from typing import Any, Final

from graftlet.core import _original
from graftlet.io._builtin import Functions
from graftlet.patch._applied import applied

#: The program of a child (``get_command_line`` in Lib/multiprocessing/spawn.py) and that of a fork
#: server (``ensure_running`` in Lib/multiprocessing/forkserver.py).
_PROGRAM: Final = re.compile(r"(import sys; )?from multiprocessing\.(spawn|forkserver) import ")

#: Found where this process has found it; and not among the child's own modules, for in its first entry
#: (the current directory) there may be a ``select.py``, say.
_BEGIN: Final = """
import sys
path = sys.path
sys.path = [*filter(None, path), {directory!r}]
try:
    from graftlet.patch import patch
    patch({names})
finally:
    sys.path = path
"""


#: Where this process has found graftlet.
_DIRECTORY: Final = os.path.abspath(__file__).rsplit(os.sep, 3)[0]


def _beginning() -> str:
    """The first statement of a child's program."""
    names = ", ".join(map(repr, applied))
    return f"exec({_BEGIN.format(directory=_DIRECTORY, names=names)!r}, {{}}); "


def followed(words: Any) -> Any:
    """The command line of a child, so that it begins under graftlet if it is one of multiprocessing's."""
    if os.environ.get("GRAFTLET") == "0" or "multiprocessing" not in sys.modules:
        return words
    try:
        program = words.index("-c") + 1
        if not _PROGRAM.match(words[program]):
            return words
    except (AttributeError, IndexError, TypeError, ValueError):
        return words  # none of multiprocessing's, or none at all
    return [*words[:program], _beginning() + words[program], *words[program + 1 :]]


#: The process and the descriptor of each fork server of before: it ends when the descriptor is closed, at the
#: end of this process.
_former_servers: Final[list[tuple[int, int]]] = []


def leave_fork_server() -> None:
    """What is patched has changed: children will come from another fork server than the one that runs."""
    module = sys.modules.get("multiprocessing.forkserver")
    server = getattr(module, "_forkserver", None)
    if server is None:
        return
    with server._lock:
        if server._forkserver_pid is not None:
            _former_servers.append((server._forkserver_pid, server._forkserver_alive_fd))
            # As ``ForkServer.ensure_running`` does when it finds that a server has ended.
            server._forkserver_address = None
            server._forkserver_alive_fd = None
            server._forkserver_pid = None


class ProcessStart(Functions):
    """What takes the place of functions of module ``_posixsubprocess``."""

    __slots__ = ()

    def fork_exec(self, args: Any, /, *others: Any) -> int:
        """As ``_posixsubprocess.fork_exec``; Python children of multiprocessing are patched."""
        pid: int = native_fork_exec(followed(args), *others)
        return pid


def _native(name: str) -> Any:
    try:
        import _posixsubprocess
    except ImportError:  # not a POSIX system
        return None
    return getattr(_posixsubprocess, name, None)


native_fork_exec: Final = _native("fork_exec")

functions: Final = ProcessStart()


def untracked_semaphores(objects: list[Any]) -> list[Any]:
    """Those that the garbage collector doesn't know: all of Python 3.11 and older.

    Args:
        objects: the instances of ``multiprocessing.synchronize.SemLock`` are among them.
    """
    synchronize = sys.modules.get("multiprocessing.synchronize")
    if synchronize is None:
        return []
    holders = [each for each in objects if issubclass(type(each), synchronize.SemLock)]
    found = [getattr(each, "_semlock", None) for each in holders]
    native = _original.SemLock
    return [each for each in found if type(each) is native and not gc.is_tracked(each)]

"""What is patched, as data: for each module the names, where they live, and what takes their place.

Rule: everything that wants to know what graftlet changes reads this table: patching, un-patching,
`is_patched`, the report, the docs and the tests. Few and low: CPython's own Python code runs above.

Two kinds:

* a *method* is put on a Python class in place. The class, its subclasses and instances stay what they
  are, also those that exist already.
* a *name* stands for something written in C that can't be changed in place: it is rebound in its module,
  and everywhere else that the sweep finds (`graftlet.patch._sweep`).

``find`` functions run only when their group is patched, so that nothing is imported in vain.
"""

import sys
from collections.abc import Callable, Collection
from importlib import import_module
from typing import Any, Final

from graftlet.io._builtin import builtin
from graftlet.patch import _adapters
from graftlet.patch._changes import Change


class Group:
    """What one flag of `graftlet.patch_all` stands for.

    Args:
        name: the flag.
        what: for people: what becomes cooperative.
        find: makes the list of changes; imports what it needs.
        settle: called after patching and before un-patching, with True and False.
        needs: the groups without which this one can't work, and why.
        late: modules that ``find`` does not import: it is asked again when the program does.
        imported: called with the name of one of these that was imported, and patched, later.
    """

    __slots__ = ("find", "imported", "late", "name", "needs", "settle", "what")

    def __init__(
        self,
        name: str,
        what: str,
        find: Callable[[], list[Change]],
        settle: Callable[[bool], object] | None = None,
        needs: dict[str, str] | None = None,
        late: Collection[str] = (),
        imported: Callable[[str], object] | None = None,
    ) -> None:
        self.name = name
        self.what = what
        self.find = find
        self.settle = settle
        self.needs = needs or {}
        self.late = late
        self.imported = imported


def _names(module_name: str, functions: Any, *names: str) -> list[Change]:
    """Names of a C module that methods of ``functions`` take the place of, where they exist."""
    module = import_module(module_name)
    return [
        Change(module, name, _stand_in(module_name, functions, name))
        for name in names
        if hasattr(module, name)
    ]


_stand_ins: Final[dict[Any, Any]] = {}


def _stand_in(module_name: str, functions: Any, name: str) -> Any:
    """One object for each function, however often it is patched and un-patched."""
    function = getattr(type(functions), name)
    if function not in _stand_ins:
        _stand_ins[function] = builtin(module_name, function)
    return _stand_ins[function]


def _time() -> list[Change]:
    from graftlet.io._time import functions

    return _names("time", functions, "sleep")


def _socket() -> list[Change]:
    import socket

    from graftlet.io import _socket as operations
    from graftlet.io._makefile import makefile

    methods = {
        "_accept": operations.accept_descriptor,
        "bind": operations.bind,
        "close": operations.close,
        "connect": operations.connect,
        "connect_ex": operations.connect_ex,
        "detach": operations.detach,
        "makefile": makefile,
        "recv": operations.recv,
        "recv_into": operations.recv_into,
        "recvfrom": operations.recvfrom,
        "recvfrom_into": operations.recvfrom_into,
        "recvmsg": operations.recvmsg,
        "recvmsg_into": operations.recvmsg_into,
        "send": operations.send,
        "sendall": operations.sendall,
        "sendmsg": operations.sendmsg,
        "sendto": operations.sendto,
        "shutdown": operations.shutdown,
    }
    return [
        Change(socket.socket, name, method, sweep=False)
        for name, method in methods.items()
        if hasattr(socket.socket, name)
    ]


def _ssl() -> list[Change]:
    import ssl

    from graftlet.io import _ssl as operations

    return [
        Change(ssl.SSLContext, "_wrap_socket", operations.wrap_socket, sweep=False),
        Change(ssl.SSLSocket, "detach", operations.detach, sweep=False),
        Change(ssl.SSLSocket, "sendall", operations.sendall, sweep=False),
        Change(ssl.SSLSocket, "setblocking", operations.setblocking, sweep=False),
        Change(ssl.SSLSocket, "settimeout", operations.settimeout, sweep=False),
    ]


def _dns() -> list[Change]:
    from graftlet.io._resolver import functions

    return _names(
        "_socket",
        functions,
        "getaddrinfo",
        "getnameinfo",
        "gethostbyname",
        "gethostbyname_ex",
        "gethostbyaddr",
    )


def _select() -> list[Change]:
    import select

    from graftlet.io import _select as cooperative

    changes = _names("select", cooperative.functions, "select", "poll")
    if hasattr(select, "epoll"):
        changes.append(Change(select, "epoll", cooperative.epoll))
    return changes


def _threading() -> list[Change]:
    import _thread

    from graftlet.patch._threads import ThreadHandle, functions
    from graftlet.sync._local import ThreadLocal
    from graftlet.sync._lock import ThreadLock
    from graftlet.sync._rlock import ThreadRLock

    kinds: dict[str, Any] = {
        "LockType": ThreadLock,
        "RLock": ThreadRLock,
        "_ThreadHandle": ThreadHandle,
        "_local": ThreadLocal,
        "allocate": ThreadLock,
        "allocate_lock": ThreadLock,
        "lock": ThreadLock,
    }
    if sys.version_info < (3, 13):  # there the lock's type can't be called, a function makes locks
        make = _stand_in("_thread", functions, "allocate_lock")
        kinds.update(allocate=make, allocate_lock=make)
    changes = [
        Change(_thread, name, kind) for name, kind in kinds.items() if hasattr(_thread, name)
    ]
    changes += _names(
        "_thread",
        functions,
        "_get_main_thread_ident",
        "get_native_id",
        "start_new_thread",
        "start_joinable_thread",
        "_make_thread_handle",
        "_set_sentinel",
        "_shutdown",
        "_count",
        "get_ident",
        "set_name",
        "_get_name",
    )
    threading: Any = sys.modules.get("threading")
    if hasattr(threading, "Event"):  # and is not just being imported
        from graftlet.patch import _lean, _sentinel

        changes += [
            Change(threading.Condition, "wait", _lean.wait, sweep=False),
            Change(
                threading.Event,
                "__init__",
                _lean.over(vars(threading.Event)["__init__"], _lean.event_init_on),
                sweep=False,
            ),
            Change(threading.Event, "set", _lean.event_set, sweep=False),
            Change(threading.Event, "clear", _lean.event_clear, sweep=False),
            Change(threading.Event, "wait", _lean.event_wait, sweep=False),
        ]
        if hasattr(threading, "_maintain_shutdown_locks"):
            changes.append(
                Change(threading, "_maintain_shutdown_locks", _sentinel.maintain, sweep=False)
            )
    changes += _names("os", functions, "fork", "forkpty")
    # These are given the ident of a thread.
    changes += _names("time", functions, "pthread_getcpuclockid")
    changes += _names("_signal", functions, "pthread_kill")
    # An old name of the same function.
    changes.append(
        Change(_thread, "start_new", _stand_in("_thread", functions, "start_new_thread"))
    )
    return changes


def _settle_threading(patched: bool) -> None:
    from graftlet.patch._async_exceptions import settle

    settle(patched)
    if not patched:
        from graftlet.patch._threads import give_back_unstarted

        give_back_unstarted()


def _imported_with_threads(module: str) -> None:
    from graftlet.patch._async_exceptions import imported

    imported(module)


def _signal() -> list[Change]:
    import _signal as signal_module  # type: ignore[import-not-found] # typeshed has no stubs of it

    from graftlet.patch._signals import functions

    names = ["signal", "getsignal", "pause", "pthread_sigmask", "set_wakeup_fd"]
    names += ["getitimer", "setitimer", "siginterrupt"]
    if hasattr(signal_module, "sigtimedwait"):
        names += ["sigwait", "sigwaitinfo", "sigtimedwait"]
    return _names("_signal", functions, *names)


def _settle_signals(patched: bool) -> None:
    """The handlers that are installed already run in main, too."""
    from graftlet.core._current import in_main_thread
    from graftlet.core._signals import rewrap_all, unwrapped, wrapped

    if in_main_thread():
        rewrap_all(wrapped if patched else unwrapped)


def _preemption() -> list[Change]:
    from graftlet.patch._preemption import functions

    return _names("os", functions, "execv", "execve")


def _settle_preemption(patched: bool) -> None:
    from graftlet.patch._preemption import settle

    settle(patched)


def _os() -> list[Change]:
    from graftlet.io._os import functions

    return _names(
        "os",
        functions,
        "close",
        "closerange",
        "dup2",
        "eventfd_read",
        "eventfd_write",
        "open",
        "read",
        "readinto",
        "readv",
        "sendfile",
        "splice",
        "write",
        "writev",
    )


def _subprocess() -> list[Change]:
    from graftlet.io._process import functions

    return _names("os", functions, "system", "wait", "wait3", "wait4", "waitid", "waitpid")


def _files() -> list[Change]:
    import _io

    from graftlet.io import _files, _input

    return [
        *_names("_io", _files.functions, "open"),
        *_names("builtins", _input.functions, "input"),
        Change(_io, "FileIO", _files.FileIO),
    ]


def _settle_files(patched: bool) -> None:
    """Files that exist already have been changed in place."""
    from graftlet.patch._existing_files import give_back

    if not patched:
        give_back()


def _fcntl() -> list[Change]:
    from graftlet.io import _locks

    return [
        *_names("fcntl", _locks.functions, "flock", "lockf"),
        *_names("os", _locks.os_functions, "lockf"),
    ]


def _queue() -> list[Change]:
    changes = []
    try:
        import _queue
    except ImportError:
        pass  # the program keeps it away (None in sys.modules), so that it gets queue's own in Python
    else:
        from graftlet.sync._simple_queue import simple_queue_over

        changes.append(Change(_queue, "SimpleQueue", simple_queue_over(_queue)))
    queue: Any = sys.modules.get("queue")
    if hasattr(queue, "Queue"):  # and is not just being imported
        from graftlet.patch import _lean

        changes += [
            Change(
                queue.Queue, "put", _lean.over(vars(queue.Queue)["put"], _lean.put_on), sweep=False
            ),
            Change(
                queue.Queue, "get", _lean.over(vars(queue.Queue)["get"], _lean.get_on), sweep=False
            ),
        ]
    return changes


def _multiprocessing() -> list[Change]:
    from graftlet.core import _original
    from graftlet.io._semaphores import SemLock
    from graftlet.patch._multiprocessing import functions, native_fork_exec

    changes = []
    if _original.SemLock is not None:
        changes.append(Change(import_module("_multiprocessing"), "SemLock", SemLock))
    if native_fork_exec is not None:
        changes += _names("_posixsubprocess", functions, "fork_exec")
    return changes


def _settle_multiprocessing(_patched: bool) -> None:
    """A fork server may be running already, in which other groups are patched."""
    from graftlet.patch._multiprocessing import leave_fork_server

    leave_fork_server()


def _asyncio() -> list[Change]:
    from graftlet.patch._asyncio import cooperative_loop, stand_in

    changes = []
    module = sys.modules.get("_asyncio")  # which asyncio imports, where the interpreter has it
    if module is not None:
        changes.append(Change(module, "_set_running_loop", stand_in(module)))
    module = sys.modules.get("uvloop")
    if module is not None:
        changes.append(Change(module, "Loop", cooperative_loop()))
    return changes


def _faulthandler() -> list[Change]:
    from graftlet.patch._faulthandler import functions

    return _names(
        "faulthandler",
        functions,
        "dump_traceback",
        "dump_traceback_later",
        "cancel_dump_traceback_later",
    )


def _interpreters() -> list[Change]:
    from graftlet.io._interpreters import MODULES, stand_ins

    return [
        Change(sys.modules[module], name, stand_in)
        for module in MODULES
        if module in sys.modules
        for name, stand_in in stand_ins(sys.modules[module]).items()
    ]


def _settle_asyncio(patched: bool) -> None:
    """A loop may be running already."""
    from graftlet.patch._asyncio import settle

    settle(patched)


GROUPS: Final = {
    group.name: group
    for group in (
        Group("time", "time.sleep", _time),
        Group("select", "select.select, poll and epoll, and the selectors above them", _select),
        Group("dns", "socket.getaddrinfo and its relatives, in native threads", _dns),
        Group("socket", "the methods of socket.socket that block", _socket),
        Group(
            "ssl",
            "TLS: ssl.SSLSocket, also those that exist already",
            _ssl,
            needs={"socket": "a TLS socket connects, accepts and closes by the methods of socket"},
        ),
        Group("os", "os.read, os.write and the like on pipes, terminals and sockets", _os),
        Group(
            "subprocess", "os.waitpid and its relatives, under subprocess; os.system", _subprocess
        ),
        Group("files", "open() on pipes, terminals and sockets; input()", _files, _settle_files),
        Group("fcntl", "file locks: fcntl.flock and lockf, os.lockf", _fcntl),
        Group("signal", "handlers run in the main greenlet; pause", _signal, _settle_signals),
        Group(
            "threading",
            "threads as greenlets, locks, thread-local data",
            _threading,
            _settle_threading,
            late=("threading", "ctypes"),
            imported=_imported_with_threads,
        ),
        Group(
            "preemption",
            "threads that never wait take turns, as under CPython",
            _preemption,
            _settle_preemption,
            needs={
                "signal": "a program that uses SIGVTALRM or ITIMER_VIRTUAL itself could not take it back"
            },
        ),
        Group(
            "queue",
            "queue.SimpleQueue (the other queues stand on threading)",
            _queue,
            needs={
                "threading": "a SimpleQueue blocks the greenlet, a native thread would not be woken"
            },
            late=("queue",),
        ),
        Group(
            "multiprocessing",
            "the locks that processes share; spawned children are patched, too",
            _multiprocessing,
            _settle_multiprocessing,
        ),
        Group(
            "asyncio",
            "the running event loop belongs to the greenlet; uvloop's waits in asyncio's selector",
            _asyncio,
            _settle_asyncio,
            needs={"select": "an event loop waits in a selector, which would block all greenlets"},
            late=("_asyncio", "uvloop"),
        ),
        Group(
            "faulthandler",
            "tracebacks of all threads show those that are greenlets",
            _faulthandler,
        ),
        Group(
            "interpreters",
            "other interpreters run, and are waited for, in native threads",
            _interpreters,
            late=(
                *("_interpreters", "_interpchannels", "_testinternalcapi"),
                *("_xxsubinterpreters", "_xxinterpchannels"),  # go with 3.12
            ),
        ),
        Group(
            "drivers",
            "libraries that block inside C, each by its adapter in graftlet.ext",
            _adapters.changes,
            _adapters.settle,
            late=_adapters.by_module,
            imported=_adapters.imported,
        ),
    )
}

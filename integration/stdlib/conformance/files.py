"""Which files of CPython's test suite are run.

Rule: a list of names, no conditions on versions. A name that an interpreter does not have is reported
as not there; nothing is left out for being hard. A package is run as its modules, one process each
(as regrtest does with its larger ones), so "test_asyncio" means "test_asyncio.test_events" and so on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILES: Final = (
    *("test_socket", "test_ssl", "test_select", "test_selectors", "test_poll", "test_epoll"),
    *("test_threading", "test_thread", "test_threading_local", "test_threadsignals"),
    *("test_threadedtempfile", "test_queue", "test_sched", "test_time", "test_timeout"),
    *("test_socketserver", "test_httplib", "test_httpservers", "test_urllib", "test_urllib2"),
    *("test_urllib2_localnet", "test_ftplib", "test_smtplib", "test_smtpd", "test_poplib"),
    *("test_imaplib", "test_telnetlib", "test_nntplib", "test_xmlrpc", "test_docxmlrpc"),
    *("test_wsgiref", "test_asyncore", "test_asynchat", "test_subprocess", "test_signal"),
    *("test_fork1", "test_wait3", "test_wait4", "test_popen", "test_os", "test_posix"),
    *("test_concurrent_futures", "test_asyncio", "test_logging", "test_context"),
    *("test_contextlib", "test_contextlib_async", "test_functools"),
    *("test_importlib.test_locks", "test_importlib.test_threaded_import"),
    *("test_multiprocessing_fork", "test_multiprocessing_spawn"),
    *("test_multiprocessing_forkserver", "test_multiprocessing_main_handling"),
    *("test_sqlite3", "test_sqlite", "test_io", "test_pty", "test_tempfile", "test_weakref"),
    *("test_gc", "test_faulthandler", "test_fcntl", "test_eintr"),
    *("test_interpreters", "test__interpreters", "test__interpchannels"),
    *("test__xxsubinterpreters", "test__xxinterpchannels"),
)

# Names that exist in some versions only because a module was renamed, removed or added. Their
# absence is no news; that of any other name is said in the log and in docs/conformance.md.
COME_AND_GO: Final = frozenset(
    (
        "test_smtpd",
        "test_telnetlib",
        "test_nntplib",
        "test_asyncore",
        "test_asynchat",
        "test_sqlite3",
        "test_sqlite",
        "test_posix",
        "test_interpreters",
        "test__interpreters",
        "test__interpchannels",
        "test__xxsubinterpreters",
        "test__xxinterpchannels",
    )
)

# What must never break: run on every push, on the newest and the oldest version.
CORE: Final = (
    *("test_socket", "test_ssl", "test_threading", "test_queue", "test_select", "test_selectors"),
    *("test_subprocess", "test_signal", "test_concurrent_futures", "test_asyncio"),
)

# "network" and "urlfetch" reach for the internet, "gui" and "audio" for devices, the large files
# for more disk than a test may take.
RESOURCES: Final = ("cpu", "subprocess", "walltime", "decimal", "curses", "tzdata")

# test_socketserver asks for "network" as a whole although it only talks to the loopback interface.
# It gets it where no packet can leave the machine.
LOOPBACK_ONLY: Final = frozenset({"test_socketserver"})


def resources(file: str, confined: bool) -> list[str]:
    """The resources that `file` may use; `confined`: no packet can leave the machine."""
    return [*RESOURCES, *(["network"] if confined and group(file) in LOOPBACK_ONLY else [])]


def group(file: str) -> str:
    """The name a file is listed under: its package's, if it is part of one."""
    return file.partition(".")[0]


def expand(names: Iterable[str], directory: Path) -> tuple[list[str], list[str]]:
    """Turn names into modules of the package in `directory`; also return what is not there."""
    found: dict[str, None] = {}
    absent = []
    for name in names:
        path = directory.joinpath(*name.split("."))
        if path.is_dir():
            modules = sorted(each.stem for each in path.glob("test*.py"))
            found.update(dict.fromkeys(f"{name}.{module}" for module in modules))
        elif path.with_suffix(".py").is_file():
            found[name] = None
        else:
            absent.append(name)
    return list(found), absent

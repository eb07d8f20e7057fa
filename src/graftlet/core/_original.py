"""The untouched blocking functions, captured when graftlet is first imported.

Rule: this is the only module that may reach for them. Everybody else imports them from here, so
that one look tells what graftlet itself calls natively, and so that patching, which rebinds every
*other* reference in the process, has exactly one place to leave alone (see ``patch/_sweep.py``).

Importing graftlet costs what these imports cost: only modules that the interpreter has loaded
anyway, or that are written in C, are imported here. ``socket`` and ``threading`` are not.
"""

import _io
import _queue
import _socket
import _thread
import builtins
import fcntl as _fcntl
import os
import select as _select
import time as _time
from typing import Any, Final

try:
    from _multiprocessing import SemLock as _SemLock  # type: ignore[import-not-found] # no stubs
except ImportError:  # a platform without semaphores that processes share
    _SemLock = None
SemLock: Final[Any] = _SemLock

monotonic: Final = _time.monotonic
sleep: Final = _time.sleep

allocate_lock: Final = _thread.allocate_lock
LockType: Final = _thread.LockType
get_ident: Final = _thread.get_ident
get_native_id: Final = _thread.get_native_id
pthread_getcpuclockid: Final = getattr(_time, "pthread_getcpuclockid", None)
start_new_thread: Final = _thread.start_new_thread
ThreadLocal: Final = _thread._local
RLock: Final = _thread.RLock
#: Since Python 3.13.
ThreadHandle: Final[Any] = getattr(_thread, "_ThreadHandle", None)
SimpleQueue: Final = _queue.SimpleQueue

read: Final = os.read
write: Final = os.write
close: Final = os.close
open_descriptor: Final = os.open
closerange: Final = os.closerange
dup2: Final = os.dup2
readv: Final = os.readv
writev: Final = os.writev
preadv: Final = os.preadv
pwritev: Final = os.pwritev
sendfile: Final = os.sendfile
#: ``None`` where there is none: in older Pythons, on other platforms.
readinto: Final = getattr(os, "readinto", None)
eventfd_write: Final = getattr(os, "eventfd_write", None)
splice: Final = getattr(os, "splice", None)

wait: Final = os.wait
waitpid: Final = os.waitpid
wait3: Final = os.wait3
wait4: Final = os.wait4
#: ``None`` where the platform has none.
waitid: Final = getattr(os, "waitid", None)
system: Final = os.system

flock: Final = _fcntl.flock
lockf: Final = _fcntl.lockf
os_lockf: Final = os.lockf

open_file: Final = _io.open
read_line: Final = builtins.input

select: Final = _select.select
#: ``None`` where the platform has none of that kind.
epoll: Final = getattr(_select, "epoll", None)
poll: Final = getattr(_select, "poll", None)

socket: Final = _socket.socket
getaddrinfo: Final = _socket.getaddrinfo
getnameinfo: Final = _socket.getnameinfo
gethostbyname: Final = _socket.gethostbyname
gethostbyname_ex: Final = _socket.gethostbyname_ex
gethostbyaddr: Final = _socket.gethostbyaddr

"""Threads, locks, queues, sleep and sockets as the interpreter has them, whatever is patched.

For agents and profilers, and for whatever must run beside the greenlets and not among them. Everything here
is the real thing, before and after `graftlet.patch_all`: what waits keeps its *native thread* waiting, and
with it all greenlets of that thread. So wait in a native `Thread` and not in a greenlet.

A native `Thread` has no hub. Therefore the patched standard library blocks natively in it, too: what runs
there may use any library. Between both worlds `threading`'s and `queue`'s own classes, patched, are what to
share: whoever waits for these, greenlet or native thread, keeps nobody else waiting.
"""

from queue import Empty, Full

from graftlet.core._original import (
    close,
    epoll,
    get_ident,
    get_native_id,
    getaddrinfo,
    monotonic,
    poll,
    read,
    select,
    sleep,
    waitpid,
    write,
)
from graftlet.core._original import open_file as open  # noqa: A004 - the original one
from graftlet.patch._native import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    LifoQueue,
    Lock,
    PriorityQueue,
    Queue,
    RLock,
    Semaphore,
    SimpleQueue,
    Thread,
    ThreadPoolExecutor,
    Timer,
    local,
    socket,
    start_new_thread,
)

__all__ = (
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Empty",
    "Event",
    "Full",
    "LifoQueue",
    "Lock",
    "PriorityQueue",
    "Queue",
    "RLock",
    "Semaphore",
    "SimpleQueue",
    "Thread",
    "ThreadPoolExecutor",
    "Timer",
    "close",
    "epoll",
    "get_ident",
    "get_native_id",
    "getaddrinfo",
    "local",
    "monotonic",
    "open",
    "poll",
    "read",
    "select",
    "sleep",
    "socket",
    "start_new_thread",
    "waitpid",
    "write",
)

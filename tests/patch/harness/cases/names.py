"""Names and addresses."""

from __future__ import annotations

import socket
from socket import gethostbyname as old_gethostbyname
from types import SimpleNamespace
from typing import Any

from tests.patch.harness.tools import LONG, Background, describe, kind, listening, outcome

old = SimpleNamespace()


class Resolver:
    """Keeps functions as class attributes and defaults."""

    resolve = socket.gethostbyname

    def look(self, name: str, how: Any = socket.getaddrinfo) -> Any:
        return how(name, 1, type=socket.SOCK_STREAM)


def prepare() -> None:
    old.resolver = Resolver()


def without_order(found: Any) -> Any:
    return sorted(found) if isinstance(found, list) else found


def case_getaddrinfo() -> Any:
    look = socket.getaddrinfo
    anything: Any = look
    return [
        look("127.0.0.1", 80, type=socket.SOCK_STREAM),
        look("127.0.0.1", "80", socket.AF_INET, socket.SOCK_STREAM),
        look("::1", 80, type=socket.SOCK_STREAM),
        without_order(look("localhost", 80, socket.AF_INET, socket.SOCK_STREAM)),
        look("127.0.0.1", "http", type=socket.SOCK_STREAM),
        look(None, 80, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE, family=socket.AF_INET),
        look(b"127.0.0.1", b"80", type=socket.SOCK_STREAM),
        look("127.0.0.1", None, type=socket.SOCK_STREAM),
        outcome(look, "127.0.0.1", "no such service", 0, socket.SOCK_STREAM),
        outcome(look, "::1", 80, socket.AF_INET),
        outcome(look, "127.0.0.1", 80, socket.AF_INET6),
        outcome(look, "127.0.0.1", 80, 12345),
        outcome(look, "localhost", 80, 0, 0, 0, socket.AI_NUMERICHOST),
        kind(look, "a" * 70, 80),
        kind(look, "a..b", 80),
        kind(anything, 3, 80),
        kind(anything, "localhost", 3.0),
        kind(anything, "localhost"),
        kind(anything, "1.2.3.4\0", 80),
        kind(anything, "localhost", 80, "family"),
        kind(anything, "localhost", 80, wrong=1),
        kind(anything, host="127.0.0.1", port=80, type=1),
        kind(look, "127.0.0.1", 1 << 70),
    ]


def case_hosts() -> Any:
    anything: Any = socket
    return [
        socket.gethostbyname("127.0.0.1"),
        socket.gethostbyname("localhost"),
        socket.gethostbyname(""),
        outcome(socket.gethostbyname, "256.256.256.256 x"),
        kind(anything.gethostbyname, 1),
        kind(anything.gethostbyname),
        kind(anything.gethostbyname, "a" * 70),
        socket.gethostbyname_ex("127.0.0.1")[2],
        socket.gethostbyname_ex("localhost")[2],
        kind(anything.gethostbyname_ex, 1),
        "127.0.0.1" in socket.gethostbyaddr("127.0.0.1")[2],
        kind(anything.gethostbyaddr, 1),
        socket.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
        socket.getnameinfo(("::1", 80, 0, 0), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
        socket.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)[1],
        kind(anything.getnameinfo, ("127.0.0.1",), 0),
        kind(anything.getnameinfo, "127.0.0.1", 0),
        kind(anything.getnameinfo, ("127.0.0.1", 80)),
        kind(anything.getnameinfo, ("127.0.0.1", 80), "x"),
        kind(anything.getnameinfo, ("127.0.0.1", 80, 1, 1), 0),
        kind(anything.getnameinfo, ("no address", 80), 0),
        socket.getfqdn("127.0.0.1") == socket.getfqdn("127.0.0.1"),
        isinstance(socket.gethostname(), str),
        socket.getservbyname("http"),
        old.resolver.resolve("127.0.0.1"),
        old.resolver.look("127.0.0.1")[0][4],
        old_gethostbyname("localhost"),
        socket.getaddrinfo.__module__,
        socket.gethostbyname.__name__,
    ]


def case_many_look_up_at_once() -> Any:
    threads = [
        Background(socket.getaddrinfo, "localhost", 80, socket.AF_INET, socket.SOCK_STREAM)
        for _ in range(40)
    ]
    return len({str(thread.result()) for thread in threads})


def case_look_up_in_connect() -> Any:
    with listening() as listener:
        port = listener.getsockname()[1]
        clients = [
            Background(socket.create_connection, ("localhost", port), LONG) for _ in range(5)
        ]
        got = []
        for client in clients:
            listener.accept()[0].close()
            connection = client.result()
            got.append(
                type(connection).__name__ if isinstance(connection, socket.socket) else connection
            )
            connection.close()
        return got


def case_errors_keep_their_class() -> Any:
    try:
        socket.getaddrinfo("127.0.0.1", "no such service", 0, socket.SOCK_STREAM)
    except socket.gaierror as error:
        got = [
            describe(error),
            error.errno == socket.EAI_SERVICE,
            isinstance(error, OSError),
            error.__context__ is None,
        ]
    return got

"""`socket.getaddrinfo`: a numeric address, and `localhost`, which needs no name server.

One operation is one call; `threads` is ten threads that resolve `localhost` at once.
"""

from __future__ import annotations

import socket

from _measure import Report, arguments, in_threads

THREADS = 10


def main() -> None:
    given = arguments(operations=1000, repeats=5)
    wrong: list[object] = []

    def resolve(name: str, operations: int) -> None:
        for _ in range(operations):
            found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
            if not any(entry[4][0] == "127.0.0.1" for entry in found):
                wrong.append(found)

    report = Report("resolve_names")
    operations, repeats = given.operations, given.repeats
    report.time("numeric", lambda number: resolve("127.0.0.1", number), operations, repeats)
    report.time("localhost", lambda number: resolve("localhost", number), operations, repeats)

    def at_once(number: int) -> None:
        in_threads([lambda: resolve("localhost", max(1, number // THREADS))] * THREADS)

    report.time("threads", at_once, operations, repeats)
    report.finish({"wrong": len(wrong)})


if __name__ == "__main__":
    main()

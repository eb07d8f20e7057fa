"""A threaded `wsgiref` server under the load generator wrk: a connection and a thread a request.

One operation is one request. wrk is a process of its own and must be installed (`apt install wrk`).
"""

from __future__ import annotations

import re
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from _measure import Report, arguments

BODY = b"x" * 1000


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """Each request is answered by a thread of its own."""

    daemon_threads = True
    request_queue_size = 1024


class Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: standard error isn't what is measured."""


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The smallest honest WSGI application."""
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]
    start_response("200 OK", headers)
    return [BODY]


def load(url: str, connections: int, seconds: int) -> tuple[float, bool]:
    """Run wrk; seconds per request, and whether every answer was a good one."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    requests = re.search(r"(\d+) requests in ([\d.]+)s", output)
    if requests is None:
        sys.exit(f"wrk's output isn't understood:\n{output}")
    number, elapsed = int(requests[1]), float(requests[2])
    good = number > 0 and "Non-2xx" not in output and "Socket errors" not in output
    return elapsed / max(1, number), good


def main() -> None:
    given = arguments(connections=50, seconds=1, repeats=3)
    with make_server("127.0.0.1", 0, application, Server, Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        load(url, given.connections, 1)
        runs = [load(url, given.connections, given.seconds) for _ in range(given.repeats)]
        server.shutdown()
        thread.join()
    report = Report("wsgi_under_wrk")
    report.add("wsgi", [seconds for seconds, _ in runs], 1)
    report.finish({"good": all(good for _, good in runs)})


if __name__ == "__main__":
    main()

"""urllib3 against `http.server`, both in this process: keep-alive requests from many threads.

One operation is one request with its answer. The threads share one connection pool, as programs
that use `requests` or urllib3 do.
"""

from __future__ import annotations

import http.server
import threading
from functools import partial

import urllib3
from _measure import Report, arguments, in_threads

BODY = b"x" * 1000


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every GET with 1000 bytes and keeps the connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: standard error isn't what is measured."""


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024


def fetch(pool: urllib3.PoolManager, url: str, requests: int, right: list[int]) -> None:
    """This many requests, one after the other; note how many were answered in full."""
    good = 0
    for _ in range(requests):
        answer = pool.request("GET", url, timeout=30.0, retries=False)
        good += answer.status == 200 and answer.data == BODY
    right.append(good)


def main() -> None:
    given = arguments(clients=50, requests=1000, repeats=3)
    right: list[int] = []
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        pool = urllib3.PoolManager(maxsize=given.clients, block=True)

        def fetch_all(requests: int) -> None:
            right.clear()
            each = partial(fetch, pool, url, max(1, requests // given.clients), right)
            in_threads([each] * given.clients)

        report = Report("http_urllib3")
        report.time("http", fetch_all, given.requests, given.repeats)
        pool.clear()
        server.shutdown()
        thread.join()
    report.finish({"answered": sum(right)})


if __name__ == "__main__":
    main()

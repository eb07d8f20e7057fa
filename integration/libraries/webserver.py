"""A small HTTP server of the standard library, for the tests of HTTP clients: it is cooperative, too.

Rule: what a client asks for stands in its path: ``/sleep/0.3``, ``/bytes/100000``, ``/hang``, ``/status/503``,
``/cut`` (the connection ends in the middle of the answer), ``/echo``, ``/flaky`` (503 every other time), ``/hanging``
(how many hang now). As a program it serves at the port that it is told, until it is ended.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

#: A key and a certificate for ``localhost``.
CERTIFICATE = Path(__file__).parents[2] / "tests" / "patch" / "localhost.pem"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WebServer

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""

    def do_GET(self) -> None:
        """Answer as the path says."""
        _, what, *rest = self.path.split("/")
        if what == "sleep":
            time.sleep(float(rest[0]))
            self._answer(200, rest[0].encode())
        elif what == "bytes":
            self._answer(200, b"x" * int(rest[0]))
        elif what == "hang":
            self.server.hanging += 1
            self.server.over.wait()
        elif what == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 10)
            self.wfile.flush()
            self.close_connection = True
        elif what == "hanging":
            self._answer(200, b"%d" % self.server.hanging)
        elif what == "flaky":
            self.server.asked += 1
            self._answer(503 if self.server.asked % 2 else 200, b"flaky")
        else:
            self._answer(int(rest[0]) if what == "status" else 200, self.path.encode())

    def do_POST(self) -> None:
        """Send back what was sent."""
        self._answer(200, self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class WebServer(ThreadingHTTPServer):
    """Knows how often it was connected to."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.over = threading.Event()
        self.accepted: list[socket.socket] = []
        self.asked = 0
        self.hanging = 0

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"http://127.0.0.1:{self.server_port}"

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection."""
        connection, address = super().get_request()
        self.accepted.append(connection)
        return connection, address

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what some tests are about."""

    def server_close(self) -> None:
        """End, and all connections with it."""
        self.over.set()
        for connection in self.accepted:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        super().server_close()


@contextmanager
def web_server(tls: bool = False) -> Iterator[WebServer]:
    """One that serves, in a thread of its own, until the block ends."""
    server = WebServer()
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


if __name__ == "__main__":
    WebServer(int(sys.argv[1])).serve_forever()

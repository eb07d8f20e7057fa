"""A threaded echo server and its clients, all in this process, one thread a connection and end.

One operation is one echo: the client sends, the server receives, the server sends, the client
receives. The clients start each repeat together; a repeat lasts from the first client's first
send to the last client's last answer. Connecting, TLS handshakes and a warm-up repeat come before.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time

from _measure import Report, arguments, collect

CERTIFICATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "localhost.pem")


class Options:
    """The command line, typed."""

    def __init__(self) -> None:
        given = arguments(connections=100, messages=100, size=64, repeats=5, timeout=0.0, tls=0)
        self.connections: int = given.connections
        self.messages: int = given.messages
        self.size: int = given.size
        self.repeats: int = given.repeats
        self.timeout: float | None = given.timeout or None
        self.tls: bool = bool(given.tls)
        self.buffer: int = max(4096, self.size)


def handle(connection: socket.socket, options: Options, context: ssl.SSLContext | None) -> None:
    """The server's side of one connection: send back what comes, until the client closes."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(options.timeout)
    if context is not None:
        connection = context.wrap_socket(connection, server_side=True)
    with connection:
        while data := connection.recv(options.buffer):
            connection.sendall(data)


def serve(listener: socket.socket, options: Options) -> None:
    """Accept the expected number of connections, each answered by a thread."""
    context = None
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
    for _ in range(options.connections):
        connection, _ = listener.accept()
        threading.Thread(target=handle, args=(connection, options, context), daemon=True).start()


class Client:
    """One connection and the times at which it began and ended each repeat."""

    def __init__(self, address: tuple[str, int], number: int, options: Options) -> None:
        self.options = options
        self.message = (b"%08d" % number * (options.size // 8 + 1))[: options.size]
        self.begun: list[float] = []
        self.ended: list[float] = []
        self.echoed = 0
        self.connection = socket.create_connection(address)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.settimeout(options.timeout)

    def run(self, start: threading.Barrier) -> None:
        """Handshake, then one warm-up repeat and the measured ones."""
        options = self.options
        if options.tls:
            context = ssl.create_default_context(cafile=CERTIFICATE)
            self.connection = context.wrap_socket(self.connection, server_hostname="localhost")
        with self.connection as connection:
            self.exchange(connection, max(1, options.messages // 10))
            for _ in range(options.repeats):
                start.wait()
                self.begun.append(time.perf_counter())
                self.echoed += self.exchange(connection, options.messages)
                self.ended.append(time.perf_counter())

    def exchange(self, connection: socket.socket, messages: int) -> int:
        """Send the message and wait for its echo, `messages` times; how many came back right."""
        message = self.message
        size = len(message)
        buffer = self.options.buffer
        right = 0
        for _ in range(messages):
            connection.sendall(message)
            answer = connection.recv(buffer)
            while len(answer) < size:
                more = connection.recv(buffer)
                if not more:
                    return right
                answer += more
            right += answer == message
        return right


def main() -> None:
    options = Options()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    address: tuple[str, int] = listener.getsockname()
    server = threading.Thread(target=serve, args=(listener, options))
    server.start()
    clients = [Client(address, number, options) for number in range(options.connections)]
    start = threading.Barrier(options.connections, action=collect)
    threads = [threading.Thread(target=client.run, args=(start,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.join()
    listener.close()

    echoes = options.connections * options.messages
    values = [
        (max(ended) - min(begun)) / echoes
        for begun, ended in zip(
            zip(*(client.begun for client in clients), strict=True),
            zip(*(client.ended for client in clients), strict=True),
            strict=True,
        )
    ]
    report = Report("echo")
    report.add("echo", values, echoes)
    report.finish({"echoed": sum(client.echoed for client in clients)})


if __name__ == "__main__":
    main()

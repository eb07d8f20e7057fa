"""Datagrams: one server thread on one socket answers clients that have a thread and a socket each.

One operation is one datagram there and one back. Each client has one datagram under way at a time,
so the server's buffer can't overflow and nothing is lost on the loopback interface.
"""

from __future__ import annotations

import socket
import threading
import time

from _measure import Report, arguments, collect

STOP = b""


def serve(server: socket.socket) -> None:
    """Send each datagram back to where it came from, until an empty one comes."""
    while True:
        data, address = server.recvfrom(2048)
        if data == STOP:
            return
        server.sendto(data, address)


class Client:
    """A socket of its own, and the times at which it began and ended each repeat."""

    def __init__(self, number: int, server: tuple[str, int], timeout: float | None) -> None:
        self.message = b"%064d" % number
        self.server = server
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(timeout)
        self.begun: list[float] = []
        self.ended: list[float] = []
        self.right = 0

    def run(self, start: threading.Barrier, messages: int, repeats: int) -> None:
        self.exchange(max(1, messages // 10))
        for _ in range(repeats):
            start.wait()
            self.begun.append(time.perf_counter())
            self.right += self.exchange(messages)
            self.ended.append(time.perf_counter())

    def exchange(self, messages: int) -> int:
        """How many datagrams came back right."""
        right = 0
        for _ in range(messages):
            self.socket.sendto(self.message, self.server)
            data, _ = self.socket.recvfrom(2048)
            right += data == self.message
        return right


def main() -> None:
    given = arguments(clients=100, messages=80, repeats=5, timeout=0.0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        address: tuple[str, int] = server.getsockname()
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        clients = [
            Client(number, address, given.timeout or None) for number in range(given.clients)
        ]
        start = threading.Barrier(given.clients, action=collect)
        threads = [
            threading.Thread(target=client.run, args=(start, given.messages, given.repeats))
            for client in clients
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(STOP, address)
        thread.join()
    for client in clients:
        client.socket.close()
    operations = given.clients * given.messages
    values = [
        (max(client.ended[turn] for client in clients) - min(c.begun[turn] for c in clients))
        / operations
        for turn in range(given.repeats)
    ]
    report = Report("udp_echo")
    report.add("udp", values, operations)
    report.finish({"echoed": sum(client.right for client in clients)})


if __name__ == "__main__":
    main()

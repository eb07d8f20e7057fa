"""The echo of `echo.py` on 100 connections, alone and then among 10,000 idle ones.

The idle connections are real: each has its thread on the server, blocked in `recv`. Their other ends
are held by a helper process (`idle_peer.py`), because one process may not have so many descriptors.
The same active connections are measured before and after the idle ones come, so that
`with-idle / without-idle` of one process tells what they cost.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import threading
import time

from _measure import Report, arguments, collect

PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "idle_peer.py")
MESSAGE = b"sixty-four bytes of a message that says nothing but is long....\n"


def allow_descriptors(number: int) -> None:
    """Raise the soft limit of open descriptors, or say what to do."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        sys.exit(f"{number} descriptors are needed, the hard limit is {hard}: raise `ulimit -n`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


def handle(connection: socket.socket, closed: list[int]) -> None:
    """Send back what comes, until the other end closes."""
    received = 0
    with connection:
        while data := connection.recv(4096):
            connection.sendall(data)
            received += len(data)
    closed.append(received)


def serve(listener: socket.socket, connections: int, closed: list[int]) -> None:
    """Accept this many connections, each answered by a thread; join these when they are done."""
    threads = []
    for _ in range(connections):
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=handle, args=(connection, closed))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()


class Client:
    """An active connection, and the times at which it began and ended each repeat."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.connection = socket.create_connection(address)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.begun: list[float] = []
        self.ended: list[float] = []
        self.right = 0

    def run(self, start: threading.Barrier, messages: int, repeats: int) -> None:
        """The warm-up repeat and the measured ones."""
        self.exchange(max(1, messages // 10))
        for _ in range(repeats):
            start.wait()
            self.begun.append(time.perf_counter())
            self.right += self.exchange(messages)
            self.ended.append(time.perf_counter())

    def exchange(self, messages: int) -> int:
        """Send the message and wait for its echo; how many came back right."""
        connection = self.connection
        right = 0
        for _ in range(messages):
            connection.sendall(MESSAGE)
            answer = connection.recv(4096)
            while len(answer) < len(MESSAGE):
                more = connection.recv(4096)
                if not more:
                    return right
                answer += more
            right += answer == MESSAGE
        return right


def measure(clients: list[Client], messages: int, repeats: int) -> list[float]:
    """Seconds per echo, one value a repeat."""
    start = threading.Barrier(len(clients), action=collect)
    for client in clients:
        client.begun.clear()
        client.ended.clear()
    threads = [
        threading.Thread(target=client.run, args=(start, messages, repeats)) for client in clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [
        (max(client.ended[turn] for client in clients) - min(c.begun[turn] for c in clients))
        / (messages * len(clients))
        for turn in range(repeats)
    ]


def main() -> None:
    given = arguments(connections=100, idle=10_000, messages=80, repeats=5)
    allow_descriptors(given.idle + 2 * given.connections + 200)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    address: tuple[str, int] = listener.getsockname()
    closed: list[int] = []
    server = threading.Thread(target=serve, args=(listener, given.connections + given.idle, closed))
    server.start()

    clients = [Client(address) for _ in range(given.connections)]
    without = measure(clients, given.messages, given.repeats)

    command = [sys.executable, PEER, str(address[1]), str(given.idle)]
    peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert peer.stdin is not None and peer.stdout is not None
    ready = peer.stdout.readline()
    time.sleep(0.5)  # the last of them are accepted
    among = measure(clients, given.messages, given.repeats)

    peer.stdin.close()
    peer.wait()
    for client in clients:
        client.connection.close()
    server.join()
    listener.close()
    peer.stdout.close()

    operations = given.connections * given.messages
    report = Report("active_among_idle")
    report.add("without-idle", without, operations)
    report.add("with-idle", among, operations)
    cost = sorted(among)[len(among) // 2] / sorted(without)[len(without) // 2]
    report.add("cost-of-idle", [cost], operations, unit="ratio")
    report.finish(
        {
            "echoed": sum(client.right for client in clients),
            "idle": int(ready),
            "closed": len(closed),
            "silent": closed.count(0),
        }
    )


if __name__ == "__main__":
    main()

"""paramiko: its client against its server, both in this process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from integration.libraries.harness import (
    Library,
    Relay,
    eventually,
    killed_in,
    library,
    overlapping,
    together,
)

LIBRARY = Library(
    name="paramiko",
    package="paramiko",
    how="sockets",
    know="Its cryptography is done in C and holds up the others for a few milliseconds per connection.",
    server="paramiko's own",
)

paramiko = library("paramiko", "paramiko")

KEY = paramiko.ECDSAKey.generate()


Base: Any = paramiko.ServerInterface


class Shell(Base):  # type: ignore[misc] # a class of a library whose types are not known here
    """Lets everybody in; ``sleep 0.4`` sleeps, everything else is sent back."""

    def check_auth_password(self, username: str, password: str) -> Any:
        return paramiko.AUTH_SUCCESSFUL if password == "secret" else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> Any:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: Any, command: bytes) -> bool:
        threading.Thread(target=self._run, args=(channel, command.decode())).start()
        return True

    def _run(self, channel: Any, command: str) -> None:
        what, _, argument = command.partition(" ")
        # The transport's thread says first that the command is accepted.
        time.sleep(float(argument) if what == "sleep" else 0.05)
        with suppress(OSError):  # the client has gone
            channel.sendall((command + "\n").encode())
            channel.send_exit_status(0)
            channel.close()


@contextmanager
def server() -> Iterator[tuple[str, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    transports: list[Any] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                break
            transport = paramiko.Transport(connection)
            transports.append(transport)
            transport.add_server_key(KEY)
            transport.start_server(server=Shell(), event=threading.Event())

    accepting = threading.Thread(target=accept)
    accepting.start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    accepting.join()
    for transport in transports:
        transport.close()
    eventually(lambda: not any(transport.is_alive() for transport in transports))


def connect(address: tuple[str, int], password: str = "secret", **options: Any) -> Any:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(
        address[0],
        address[1],
        "user",
        password,
        allow_agent=False,
        look_for_keys=False,
        **options,
    )
    return client


def run(client: Any, command: str) -> str:
    _, out, _ = client.exec_command(command)
    return str(out.read().decode().strip())


def test_commands_overlap() -> None:
    with server() as address:
        clients = [connect(address) for _ in range(3)]
        with overlapping(0.4):
            answers = together(12, lambda number: run(clients[number % 3], "sleep 0.4"))
        assert answers == ["sleep 0.4"] * 12
        for client in clients:
            client.close()


def test_faults() -> None:
    with server() as address:
        with pytest.raises(paramiko.AuthenticationException):
            connect(address, "wrong")
        with Relay(address) as relay:
            client = connect(relay.address)
            _, out, _ = client.exec_command("sleep 1")
            out.channel.settimeout(0.3)
            with overlapping(0.3), pytest.raises(TimeoutError):
                out.read()
            relay.reset()
            eventually(lambda: not client.get_transport().is_active())
            with pytest.raises((paramiko.SSHException, ConnectionResetError)):
                client.exec_command("echo")
            client.close()


def test_killed_while_a_command_runs() -> None:
    with server() as address:
        client = connect(address)
        killed_in(lambda: run(client, "sleep 3"))
        assert run(client, "echo right") == "echo right"
        client.close()

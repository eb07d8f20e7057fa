"""Servers of the tests' own, to be ended and begun again.

Rule: each on a free port of 127.0.0.1, with all it writes in a directory that is removed afterwards; nobody
else's are touched. `all_servers` stands in for those of the machine. As root they run as user ``postgres``, for PostgreSQL and MariaDB do not run as root.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from integration.libraries.harness import (
    MARIADB,
    MOSQUITTO,
    NATS,
    PATIENCE,
    POSTGRESQL,
    RABBITMQ,
    REDIS,
    Server,
    eventually,
    missing,
)
from integration.libraries.programs import free_port

#: The ports of `all_servers`: whoever is connected there is a test.
_ports: Final[set[int]] = set()
#: TCP_ESTABLISHED and TCP_CLOSE_WAIT (include/net/tcp_states.h): the second is one that the server has not closed yet.
_OPEN: Final = ("01", "08")


def server_connections() -> set[str]:
    """The connections that the servers of `all_servers` have now (``/proc/net/tcp``, proc_net(5)): by the client's address."""
    found = set()
    with Path("/proc/net/tcp").open(encoding="ascii") as lines:
        next(lines)
        for line in lines:
            _, local, remote, state, *_ = line.split()
            if int(local.partition(":")[2], 16) in _ports and state in _OPEN:
                found.add(f"{local} from {remote}")
    return found


class PrivateServer:
    """One that can be ended and begun again, from when the block begins until it ends.

    Args:
        words: its command line, in which ``{port}`` and ``{directory}`` are known.
        stop: the signal that ends it at once and orderly, whatever its clients are doing.
        environment: what it is told there, in the same words.
    """

    def __init__(
        self,
        directory: Path,
        *words: str,
        stop: int = signal.SIGTERM,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self._directory = directory
        self._words = [self._filled(word) for word in words]
        self._stop = stop
        self._environment = {
            **os.environ,
            **{name: self._filled(value) for name, value in (environment or {}).items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PrivateServer:
        self.begin()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()

    def _filled(self, word: str) -> str:
        return word.format(port=self.port, directory=self._directory)

    def begin(self) -> None:
        """It serves soon."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._words,
                cwd=self._directory,
                stdout=log,
                stderr=log,
                env=self._environment,
                **_nobody(),
            )

    def answers(self) -> bool:
        """Whether somebody can connect."""
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True

    def has_said(self, words: str) -> bool:
        """Whether it has written so."""
        return words in self._log()

    def _log(self) -> str:
        return (self._directory / "log").read_text(encoding="utf-8", errors="replace")

    def end(self) -> None:
        """It has ended; nothing happens if it does not run. What it has written is in the report of a test that fails."""
        if self._process is not None:
            print(f"{self._words}: {self._process.poll()}\n{self._log()[-3000:]}")
            self._process.send_signal(self._stop)
            try:
                self._process.wait(PATIENCE)
            finally:
                self._process.kill()  # if it would not end
                self._process.wait()
                self._process = None


def _nobody() -> dict[str, Any]:
    if os.geteuid():
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


def _program(server: Server, name: str, *directories: Path) -> str:
    path = os.pathsep.join([*map(str, directories), os.environ["PATH"], "/usr/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        missing(f"{name} ({server.name}) is not installed. Install it: {server.install}")
    return found


def _prepare(directory: Path, *words: str) -> None:
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True, cwd=directory, **_nobody())


@contextmanager
def writable_directory() -> Iterator[Path]:
    """One that the servers' user may write into. Those of pytest are for nobody else's eyes."""
    with tempfile.TemporaryDirectory(prefix="graftlet-", ignore_cleanup_errors=True) as name:
        if not os.geteuid():
            try:
                user = pwd.getpwnam("postgres")
            except KeyError:
                missing("there is no user 'postgres'. Install PostgreSQL: " + POSTGRESQL.install)
            os.chown(name, user.pw_uid, user.pw_gid)
        yield Path(name)


def redis(directory: Path) -> PrivateServer:
    """Redis, without persistence."""
    return PrivateServer(
        directory,
        _program(REDIS, "redis-server"),
        *("--bind", "127.0.0.1", "--port", "{port}", "--save", "", "--dir", "{directory}"),
    )


def postgresql(directory: Path) -> PrivateServer:
    """PostgreSQL; SIGINT is its "fast shutdown"."""
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
    initdb = _program(POSTGRESQL, "initdb", *newest)
    _prepare(directory, initdb, "--no-sync", "-A", "trust", "-U", "postgres", "data")
    return PrivateServer(
        directory,
        _program(POSTGRESQL, "postgres", *newest),
        *("-D", "{directory}/data", "-F", "-p", "{port}", "-c", "listen_addresses=127.0.0.1"),
        *("-c", "unix_socket_directories="),
        stop=signal.SIGINT,
    )


def mariadb(directory: Path) -> PrivateServer:
    """MariaDB, with user root and no password."""
    install = _program(MARIADB, "mariadb-install-db")
    data = f"--datadir={directory}/data"
    _prepare(
        directory,
        install,
        *("--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db"),
    )
    return PrivateServer(
        directory,
        _program(MARIADB, "mariadbd"),
        *("--no-defaults", data, "--port={port}", "--bind-address=127.0.0.1"),
        *("--socket={directory}/socket", "--pid-file={directory}/pid"),
    )


@contextmanager
def rabbitmq(directory: Path) -> Iterator[PrivateServer]:
    """RabbitMQ without plugins, with user guest, and the port mapper that it insists on."""
    epmd = PrivateServer(
        directory, _program(RABBITMQ, "epmd"), "-address", "127.0.0.1", "-port", "{port}"
    )
    server = PrivateServer(
        directory,
        # Not the one in /usr/sbin, which becomes user rabbitmq.
        _program(RABBITMQ, "rabbitmq-server", Path("/usr/lib/rabbitmq/bin")),
        environment={
            "ERL_EPMD_PORT": str(epmd.port),
            "HOME": "{directory}",
            "RABBITMQ_CONFIG_FILE": "{directory}/no-configuration",
            "RABBITMQ_CONF_ENV_FILE": "{directory}/no-environment",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_ENABLED_PLUGINS_FILE": "{directory}/no-plugins",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": "{directory}",
            "RABBITMQ_MNESIA_BASE": "{directory}",
            "RABBITMQ_NODENAME": "graftlet@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": "{port}",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {{127,0,0,1}}",
            # The process is then the server itself, not a shell that waits for it.
            "RUNNING_UNDER_SYSTEMD": "true",
        },
    )
    with epmd:
        # The server would begin another one, which stays for ever.
        eventually(epmd.answers)
        with server:
            yield server


def mosquitto(directory: Path) -> PrivateServer:
    """Mosquitto; told nothing but a port it serves the loopback interface only."""
    return PrivateServer(directory, _program(MOSQUITTO, "mosquitto"), "-p", "{port}")


def nats(directory: Path) -> PrivateServer:
    """NATS."""
    return PrivateServer(
        directory, _program(NATS, "nats-server"), "-a", "127.0.0.1", "-p", "{port}"
    )


@contextmanager
def all_servers() -> Iterator[None]:
    """One of each, where `Server.address` finds it, until the block ends."""
    with ExitStack() as stack:
        begun = {}
        for server, make in (
            (POSTGRESQL, postgresql),
            (MARIADB, mariadb),
            (REDIS, redis),
            (RABBITMQ, rabbitmq),
            (MOSQUITTO, mosquitto),
            (NATS, nats),
        ):
            directory = stack.enter_context(writable_directory())
            begun[server] = stack.enter_context(make(directory))
            _ports.add(begun[server].port)
            os.environ[server.variable] = f"127.0.0.1:{begun[server].port}"
        for each in begun.values():
            eventually(each.answers)
        # It answers before it is ready, and says that it is starting up.
        eventually(lambda: begun[POSTGRESQL].has_said("ready to accept connections"))
        yield

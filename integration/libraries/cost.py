"""What the adapters cost: one small query, one thread, without graftlet and with it.

Rule: the best of many short rounds counts, for everything else the machine does only adds to it. Each pair is
measured in two fresh interpreters, one after the other, and that several times: whether client and server share a
processor may stay so for the life of a process.

    python -m integration.libraries.cost            measure, and print it
    python -m integration.libraries.cost --record   and keep it for docs/libraries.md (then run `page`)
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from integration.libraries import page
from integration.libraries.harness import MARIADB, POSTGRESQL, RABBITMQ
from integration.libraries.programs import environment
from integration.libraries.webserver import CERTIFICATE

#: How often.
TIMES: Final = 5

MEASURE: Final = """
import sys, time
import graftlet
if sys.argv[1] == "patched": graftlet.patch_all()
{begin}
def rounds():
    for _ in range(200):
        began = time.perf_counter()
        for _ in range(20):
            {query}
        yield (time.perf_counter() - began) / 20
print(min(rounds()) * 1e6)
"""


@contextlib.contextmanager
def echo() -> Iterator[tuple[str, int]]:
    """The address of a server in this process that sends every byte back through TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)

    def serve() -> None:
        while True:
            try:
                plain = listener.accept()[0]
            except OSError:
                return  # it is over
            with plain, context.wrap_socket(plain, server_side=True) as tls:
                tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with contextlib.suppress(OSError):  # who measures just ends
                    while data := tls.recv(1):
                        tls.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        try:
            yield listener.getsockname()[:2]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            server.join()


def cases(tls: tuple[str, int]) -> dict[str, tuple[str, str]]:
    """By name: how it begins, and what is measured.

    Args:
        tls: where `echo` serves.
    """
    host, port = POSTGRESQL.address()
    mysql = "host='{}', port={}, user='root'".format(*MARIADB.address())
    query = "cursor.execute('select 1'); cursor.fetchone()"
    psycopg2 = (
        "import psycopg2; "
        f"cursor = psycopg2.connect(host='{host}', port={port}, user='postgres').cursor()"
    )
    postgresql = f"host='{host}', port={port}, user='postgres', autocommit=True).cursor()"
    openssl = (
        "import socket; from OpenSSL import SSL; "
        f"tls = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), socket.create_connection({tls})); "
        "tls.set_connect_state(); tls.do_handshake()"
    )
    amqp = (
        "import amqp; connection = amqp.Connection('{}:{}'); connection.connect(); "
        "channel = connection.channel(); channel.queue_declare('cost', exclusive=True)"
    ).format(*RABBITMQ.address())
    return {
        "sqlite3, in memory": (
            "import sqlite3; cursor = sqlite3.connect(':memory:').cursor()",
            query,
        ),
        "mysqlclient": (
            f"import MySQLdb; cursor = MySQLdb.connect({mysql}).cursor()",
            query,
        ),
        "psycopg2": (psycopg2, query),
        "psycopg2, `COPY` of one row": (
            f"{psycopg2}; import io",
            "cursor.copy_expert('copy (select 1) to stdout', io.StringIO())",
        ),
        "psycopg2, `COPY` of 1,000 rows": (
            f"{psycopg2}; import io",
            "cursor.copy_expert('copy (select generate_series(1, 1000)) to stdout', io.StringIO())",
        ),
        "psycopg2, one `read` of a large object": (
            f"{psycopg2}; large = cursor.connection.lobject()",
            "large.read()",
        ),
        "psycopg": (f"import psycopg; cursor = psycopg.connect({postgresql}", query),
        "pyOpenSSL, one byte and its echo": (openssl, "tls.send(b'x'); tls.recv(1)"),
        "py-amqp, one `basic_get`": (amqp, "channel.basic_get('cost')"),
        "`graftlet.offload` of an empty call": (
            "",
            "graftlet.offload(int) if sys.argv[1] == 'patched' else int()",
        ),
    }


def measured(way: str, begin: str, query: str) -> float:
    """Microseconds."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.format(begin=begin, query=query), way],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=Path(__file__).parent,
        check=True,
    )
    return float(done.stdout)


if __name__ == "__main__":
    found = []
    print(f"{'one query, in µs':36} {'plain':>8} {'adapter':>8}")
    with echo() as address:
        for name, case in cases(address).items():
            pairs = [(measured("plain", *case), measured("patched", *case)) for _ in range(TIMES)]
            plain, adapter = map(min, zip(*pairs, strict=True))
            print(f"{name:36} {plain:8.1f} {adapter:8.1f}")
            found.append(f"{name} | {plain:.0f} | {adapter:.0f}\n")
    if sys.argv[1:] == ["--record"]:
        head = "# In µs: plain, under graftlet. On CPython {}.{}. Made by: python -m integration.libraries.cost --record\n"
        page.COSTS.write_text(head.format(*sys.version_info) + "".join(found), encoding="utf-8")

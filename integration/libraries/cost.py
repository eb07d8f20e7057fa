"""What the adapters cost: one small query, one thread, without graftlet and with it.

Rule: the best of many short rounds counts, for everything else the machine does only adds to it. Each pair is
measured in two fresh interpreters, one after the other.

    python -m integration.libraries.cost
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from integration.libraries.harness import MARIADB, POSTGRESQL
from integration.libraries.programs import environment

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


def cases() -> dict[str, tuple[str, str]]:
    """By name: how it begins, and what is measured."""
    host, port = POSTGRESQL.address()
    mysql = "host='{}', port={}, user='root'".format(*MARIADB.address())
    query = "cursor.execute('select 1'); cursor.fetchone()"
    postgresql = f"host='{host}', port={port}, user='postgres', autocommit=True).cursor()"
    return {
        "sqlite3, in memory": (
            "import sqlite3; cursor = sqlite3.connect(':memory:').cursor()",
            query,
        ),
        "mysqlclient": (
            f"import MySQLdb; cursor = MySQLdb.connect({mysql}).cursor()",
            query,
        ),
        "psycopg2": (
            f"import psycopg2; cursor = psycopg2.connect({postgresql}".replace(
                ", autocommit=True", ""
            ),
            query,
        ),
        "psycopg": (f"import psycopg; cursor = psycopg.connect({postgresql}", query),
        "an empty call": ("", "graftlet.offload(int) if sys.argv[1] == 'patched' else int()"),
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
    print(f"{'one query, in µs':20} {'plain':>8} {'adapter':>8}")
    for name, case in cases().items():
        plain, adapter = (measured(way, *case) for way in ("plain", "patched"))
        print(f"{name:20} {plain:8.1f} {adapter:8.1f}")

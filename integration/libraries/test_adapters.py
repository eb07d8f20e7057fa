"""Adapters: before and after patching, listed, undone; and `offload_module`. In fresh interpreters."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import graftlet.ext
from integration.libraries.harness import POSTGRESQL, library
from integration.libraries.programs import completed
from tests.isolated import run, run_ok

DRIVERS = {
    "psycopg2": ("psycopg2", "psycopg2.extensions.get_wait_callback()"),
    "psycopg": ("psycopg", "psycopg.waiting.wait.__module__"),
    "MySQLdb": ("mysqlclient", "MySQLdb.connections.Connection.query.__code__.co_filename"),
    "OpenSSL": ("pyOpenSSL", "OpenSSL.SSL.Connection.recv.__code__.co_filename"),
    "sqlite3": ("sqlite3", "sqlite3.Connection.__mro__[1:]"),
}


@pytest.mark.parametrize("module", list(DRIVERS))
def test_before_and_after_patching(module: str) -> None:
    name, mark = DRIVERS[module]
    library(module, name)
    more = {
        "psycopg2": "import psycopg2.extensions",
        "MySQLdb": "import MySQLdb.connections",
        "OpenSSL": "import OpenSSL.SSL",
    }
    load = f"import {module}\n{more.get(module, '')}"
    before = run_ok(f"import graftlet\n{load}\nprint({mark})\ngraftlet.patch_all()\nprint({mark})")
    plain, patched = before.splitlines()
    assert plain != patched
    script = f"import graftlet\ngraftlet.patch_all()\n{load}\nprint({mark})\n"
    script += f"graftlet.unpatch_all()\nprint({mark})\ngraftlet.patch_all()\nprint({mark})\n"

    def bare(text: str) -> str:
        return text.partition(" at 0x")[0]

    after = [bare(line) for line in run_ok(script).splitlines()]
    assert after == [bare(patched), bare(plain), bare(patched)]
    untouched = run_ok(f"import graftlet\ngraftlet.patch_all(drivers=False)\n{load}\nprint({mark})")
    assert bare(untouched.strip()) == bare(plain)


def test_psycopg2_is_used_and_patched_then() -> None:
    library("psycopg2", "psycopg2")
    host, port = POSTGRESQL.address()
    script = f"""
import graftlet, psycopg2, time
from psycopg2 import connect
def query(connection):
    with connection.cursor() as cursor:
        cursor.execute("select 7 from pg_sleep(1)")
        return cursor.fetchone()[0]
early = connect(host="{host}", port={port}, user="postgres")
graftlet.patch_all()
late = connect(host="{host}", port={port}, user="postgres")
began = time.monotonic()
jobs = [graftlet.spawn(query, each) for each in (early, late)]
graftlet.joinall(jobs, raise_error=True)
print(time.monotonic() - began < 1.8, [job.value for job in jobs])
graftlet.unpatch_all()
again = connect(host="{host}", port={port}, user="postgres")
print(query(late), query(again), type(again) is type(early))
for each in (early, late, again): each.close()
"""
    assert run_ok(script).splitlines() == ["True [7, 7]", "7 7 True"]


def test_adapters_are_listed() -> None:
    out = run_ok(
        """
        import graftlet.ext
        for adapter in graftlet.ext.adapters():
            print(adapter.library, adapter.loaded, bool(adapter.how))
        """
    )
    assert out.splitlines() == [
        f"{name} False True"
        for name in ("amqp", "psycopg2", "psycopg", "mysqlclient", "pyOpenSSL", "sqlite3")
    ]


@pytest.mark.parametrize("module", ["amqp", *DRIVERS])
def test_doctor_lists_them(module: str, tmp_path: Path) -> None:
    name = DRIVERS.get(module, (module, ""))[0]
    library(module, name)
    (tmp_path / "app.py").write_text(f"import {module}\n")
    adapter = {"MySQLdb": "mysqlclient", "OpenSSL": "pyOpenSSL"}.get(module, module)
    (how,) = (each.how for each in graftlet.ext.adapters() if each.library == adapter)
    assert f"\n  {adapter}: nothing to do ({how})\n" in completed(
        "doctor", "app.py", directory=tmp_path
    )


#: A library that blocks in C, seen from here: what it waits with is the interpreter's own, untouched.
SLOW = """
from graftlet.native import get_ident, sleep

def nap(seconds):
    sleep(seconds)
    return get_ident()

class Client:
    def nap(self, seconds):
        return nap(seconds)
"""

BEGIN = f"""
import graftlet, graftlet.ext, pathlib, time
pathlib.Path("slow.py").write_text({SLOW!r})
"""


@pytest.mark.parametrize("first", [True, False])
def test_offload_module(first: bool) -> None:
    script = f"""{BEGIN}
if {first}: graftlet.patch_all()
from slow import nap
graftlet.ext.offload_module("slow", "nap", "Client.nap")
graftlet.patch_all()
import slow
began = time.monotonic()
jobs = [graftlet.spawn(nap, 0.3) for _ in range(5)] + [graftlet.spawn(slow.Client().nap, 0.3)]
graftlet.joinall(jobs, raise_error=True)
print(time.monotonic() - began < 1, len({{job.value for job in jobs}}))
graftlet.unpatch_all()
print(slow.nap is nap, nap(0) == slow.Client().nap(0))
"""
    assert run_ok(script).splitlines() == ["True 6", "True True"]


def test_one_thread_for_all_calls() -> None:
    script = f"""{BEGIN}
graftlet.patch_all()
graftlet.ext.offload_module("slow", threads=1)
import slow
jobs = [graftlet.spawn(slow.nap, 0.01) for _ in range(5)]
graftlet.joinall(jobs)
print(len({{job.value for job in jobs}}))
"""
    assert run_ok(script) == "1\n"


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (("nothing",), "AttributeError"),
        (("list.append",), "AttributeError"),
        (
            ("deque.append",),
            "TypeError: offload_module: collections.deque.append: the class is written in C",
        ),
        (("deque",), "TypeError: offload_module: collections.deque is a class"),
    ],
)
def test_what_can_not_be_offloaded_is_said_at_once(names: tuple[str, ...], error: str) -> None:
    outcome = run(f"import graftlet.ext\ngraftlet.ext.offload_module('collections', *{names!r})")
    assert outcome.status == 1
    assert error in outcome.err


def test_a_module_is_offloaded_once() -> None:
    outcome = run(
        "import graftlet.ext\n"
        "graftlet.ext.offload_module('getpass', 'getpass')\n"
        "graftlet.ext.offload_module('getpass', 'getuser')\n"
    )
    assert "ValueError: graftlet.ext: module 'getpass' has an adapter" in outcome.err


def test_a_module_that_is_imported_later() -> None:
    script = """
        import graftlet, graftlet.ext, sys
        graftlet.ext.offload_module("colorsys", "rgb_to_hsv")
        graftlet.patch_all()
        assert "colorsys" not in sys.modules
        import colorsys
        print("ext" in colorsys.rgb_to_hsv.__code__.co_filename, colorsys.rgb_to_hsv(0, 0, 0))
        graftlet.unpatch_all()
        print("ext" in colorsys.rgb_to_hsv.__code__.co_filename)
        """
    assert run_ok(script).splitlines() == ["True (0.0, 0.0, 0)", "False"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sqlite3 warns of nothing before 3.12")
def test_a_warning_of_sqlite3_names_the_line_that_called() -> None:
    script = """
        import graftlet, warnings
        graftlet.patch_all()
        import sqlite3, datetime
        connection = sqlite3.connect(":memory:")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            connection.execute("select ?", (datetime.date(2000, 1, 1),))
        print(*(f"{each.filename.rpartition('/')[2]}:{each.lineno}" for each in caught))
        connection.close()
        """
    assert run_ok(script) == "script.py:8\n"

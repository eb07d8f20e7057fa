"""WSGI servers that use threads: each as a program under the launcher."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from pathlib import Path

import pytest

from integration.libraries.harness import Library, eventually, failing, library, overlapping
from integration.libraries.programs import (
    APPLICATION,
    INTERRUPT,
    TERMINATE,
    Program,
    ask_many,
    free_port,
    native_threads,
    running,
)

LIBRARIES = [
    Library(
        name="Flask, werkzeug (development server)",
        package="Flask, Werkzeug",
        how="sockets",
        know="With the reloader: `graftlet --follow-children`.",
        server="",
    ),
    Library(
        name="cheroot",
        package="cheroot",
        how="sockets",
        know="Its threads cost next to nothing: give it many.",
        server="",
    ),
    Library(
        name="waitress",
        package="waitress",
        how="sockets",
        know="Its threads cost next to nothing: give it many (`--threads`).",
        server="",
    ),
    Library(
        name="gunicorn (gthread)",
        package="gunicorn",
        how="sockets; children",
        know="`graftlet --follow-children gunicorn --worker-class gthread --threads 1000 ...`",
        server="",
    ),
]

FLASK = """
import time, flask, graftlet

application = flask.Flask(__name__)

@application.route("/<float:seconds>")
def wait(seconds):
    time.sleep(seconds)
    return str(graftlet.is_patched("time"))
"""

CHEROOT = """
import sys
from cheroot.wsgi import Server
from program import application

server = Server(("127.0.0.1", int(sys.argv[1])), application, numthreads=50, request_queue_size=50)
try:
    server.start()
except KeyboardInterrupt:
    server.stop()
"""


def overlap(port: int) -> None:
    """Twenty requests that wait for half a second, in little more than that."""
    assert ask_many(port, 2, "/0.0") == ["True"] * 2
    with overlapping(0.5):
        answers = ask_many(port, 20, "/0.5")
    assert answers == ["True"] * 20


def test_flask(tmp_path: Path) -> None:
    library("flask", "flask")
    (tmp_path / "program.py").write_text(FLASK)
    port = free_port()
    words = ("-m", "flask", "--app", "program:application", "run", "--port", str(port))
    with running(*words, directory=tmp_path, port=port) as program:
        overlap(port)
        assert native_threads(program) <= 2  # one more if a name was looked up
        assert program.end(INTERRUPT) in (0, 1, -INTERRUPT)
        assert "Traceback" not in program.output


def test_cheroot(tmp_path: Path) -> None:
    library("cheroot", "cheroot")
    (tmp_path / "program.py").write_text(APPLICATION)
    (tmp_path / "serve.py").write_text(CHEROOT)
    port = free_port()
    with running("serve.py", str(port), directory=tmp_path, port=port) as program:
        overlap(port)
        assert native_threads(program) <= 2  # one more if a name was looked up
        assert program.end(INTERRUPT) == 0
        assert "Traceback" not in program.output


def test_waitress(tmp_path: Path) -> None:
    library("waitress", "waitress")
    (tmp_path / "program.py").write_text(APPLICATION)
    port = free_port()
    options = (f"--listen=127.0.0.1:{port}", "--threads=50")
    words = ("-m", "waitress", *options, "program:application")
    with running(*words, directory=tmp_path, port=port) as program:
        overlap(port)
        assert native_threads(program) <= 2  # one more if a name was looked up
        program.end(INTERRUPT)
        assert "Traceback" not in program.output


def gunicorn(
    directory: Path, port: int, workers: int
) -> contextlib.AbstractContextManager[Program]:
    """It serves `APPLICATION` until the block ends."""
    library("gunicorn", "gunicorn")
    (directory / "program.py").write_text(APPLICATION)
    return running(
        "--follow-children",
        "-m",
        "gunicorn",
        "--worker-class=gthread",
        "--threads=50",
        f"--workers={workers}",
        f"--bind=127.0.0.1:{port}",
        "--no-control-socket",
        "program:application",
        directory=directory,
        port=port,
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_gunicorn(tmp_path: Path, workers: int) -> None:
    port = free_port()
    with gunicorn(tmp_path, port, workers) as program:
        overlap(port)
        assert native_threads(program) <= 2  # one more if a name was looked up
        assert program.end(TERMINATE) == 0
        assert "Traceback" not in program.output
        assert "Worker exiting" in program.output


def test_a_worker_of_gunicorn_dies(tmp_path: Path) -> None:
    """Who waits for it is told so, and another one serves, patched as well."""
    port = free_port()
    with gunicorn(tmp_path, port, 1) as program:
        waiting = [failing(ask_many, port, 1, "/30.0") for _ in range(5)]
        eventually(lambda: program.output.count("asked") == 5)
        booted = re.compile(r"Booting worker with pid: (\d+)")
        (worker,) = booted.findall(program.output)
        os.kill(int(worker), signal.SIGKILL)
        for each in waiting:
            assert isinstance(each.get(), OSError)
        overlap(port)
        assert len(booted.findall(program.output)) == 2
        assert program.end(TERMINATE) == 0
        assert "Traceback" not in program.output

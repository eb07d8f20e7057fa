"""Programs that use threads or the network, under the launcher: pip and pytest."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integration.libraries.harness import Library, library, no_stall
from integration.libraries.programs import (
    INTERRUPT,
    ask_many,
    completed,
    free_port,
    native_threads,
    running,
)

LIBRARIES = [
    Library(
        name="pip",
        package="pip",
        how="sockets",
        know="",
        server="an index of files, by http.server",
    ),
    Library(
        name="pytest",
        package="pytest",
        how="sockets",
        know="`graftlet -m pytest`; or `graftlet.patch_all()` at the top of `conftest.py`.",
        server="",
    ),
]


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@contextmanager
def index(directory: Path) -> Iterator[str]:
    """The address of an index that serves the files in ``directory``."""
    handler = functools.partial(_Silent, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_http_server(tmp_path: Path) -> None:
    (tmp_path / "0").write_text("right")
    port = free_port()
    words = ("-m", "http.server", "--bind", "127.0.0.1", str(port))
    with running(*words, directory=tmp_path, port=port) as program:
        with no_stall():
            assert ask_many(port, 20, "/0") == ["right"] * 20
        assert native_threads(program) <= 2  # one more if a name was looked up
        assert program.end(INTERRUPT) == 0
        assert "Traceback" not in program.output


def make_wheel(directory: Path, name: str) -> str:
    """A package with nothing in it; returns the SHA-256 of its wheel."""
    path = directory / name / f"{name}-1.0-py3-none-any.whl"
    path.parent.mkdir(parents=True)
    about = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", "x = 1\n" * 100_000)
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_pip_download(tmp_path: Path) -> None:
    library("pip", "pip")
    names = ["alpha", "beta", "gamma"]
    sums = {name: make_wheel(tmp_path / "simple", name) for name in names}
    target = tmp_path / "target"
    with index(tmp_path / "simple") as url:
        options = ("--isolated", "--disable-pip-version-check", "--no-cache-dir", "--no-deps")
        completed(
            "-m", "pip", "download", *options, "--index-url", url, "-d", str(target), *names,
            directory=tmp_path,
        )  # fmt: skip
    found = {
        path.name.partition("-")[0]: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in target.iterdir()
    }
    assert found == sums


SUITE = """
import queue, socket, threading, time, graftlet, pytest

def test_patched():
    assert graftlet.is_patched("threading")

@pytest.mark.parametrize("number", range(5))
def test_threads(number, tmp_path):
    results = queue.Queue()
    threads = [
        threading.Thread(target=lambda n=n: (time.sleep(0.05), results.put(n))) for n in range(50)
    ]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert sorted(results.get_nowait() for _ in threads) == list(range(50))

def test_sockets():
    left, right = socket.socketpair()
    with left, right:
        threading.Timer(0.05, right.sendall, [b"late"]).start()
        assert left.recv(10) == b"late"

def test_output(capfd):
    thread = threading.Thread(target=print, args=("from a thread",))
    thread.start()
    thread.join()
    assert capfd.readouterr().out == "from a thread\\n"
"""


def test_pytest_of_a_threaded_suite(tmp_path: Path) -> None:
    (tmp_path / "test_threads.py").write_text(SUITE)
    output = completed("-m", "pytest", "-q", "-p", "no:cacheprovider", directory=tmp_path)
    assert "8 passed" in output

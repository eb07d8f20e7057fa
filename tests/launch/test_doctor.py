"""``graftlet doctor``: what it prints for real scripts, and that it does not run them."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

import pytest

from graftlet.launch._command import UsageError, parse
from graftlet.launch._importing import importing_code
from graftlet.patch._table import GROUPS
from tests.launch.harness import SECONDS, Outcome, launched, start

if TYPE_CHECKING:
    from pathlib import Path

GUARDED = """
import threading
from time import sleep
import helper
LOCK = threading.Lock()
print("imported as", __name__)
if __name__ == "__main__":
    print("RUN")
"""


def doctor(where: Path, *arguments: str, **files: str) -> Outcome:
    for name, source in files.items():
        path = where / (name.replace("__of__", "/") + ".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    return launched(["doctor", *arguments], where)


# -- The program is not run


def test_a_guarded_script_is_imported_under_another_name(tmp_path: Path) -> None:
    found = doctor(tmp_path, "app.py", app=GUARDED, helper="from select import poll")
    assert (found.status, found.err) == (0, "")
    assert "RUN" not in found.out
    assert found.out.startswith("imported as __graftlet_doctor__\ngraftlet doctor: app.py\n")
    assert '  if __name__ == "__main__" was not run.\n' in found.out
    assert "\n  __main__.sleep\n" in found.out
    assert "\n  __main__.LOCK\n" in found.out
    assert "\n  helper.poll\n" in found.out
    assert "Stays as it was, and will block:\n  nothing\n" in found.out
    assert found.out.endswith("All of it will be cooperative.\n")


def test_all_groups_are_named(tmp_path: Path) -> None:
    out = doctor(tmp_path, "app.py", app=GUARDED, helper="").out
    for name, group in GROUPS.items():
        assert f"  {name} " in out
        assert group.what in out


def test_who_reads_the_head_only_gets_no_error(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import socket")
    process = start([sys.executable, "-m", "graftlet", "doctor", "app.py"], tmp_path)
    assert process.stdout is not None
    process.stdout.close()  # before it can have written anything
    process.stdout = None
    _, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err) == (0, "")


def test_of_an_unguarded_script_only_the_imports_are_executed(tmp_path: Path) -> None:
    script = """
import os, sys
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
open("touched", "w").write(HERE)
try:
    import missing
except ImportError:
    import fallback
if open("touched"):
    import either
if sys.version_info < (3,):
    import old
def later():
    import never
class Later:
    import never
print("RUN")
import last
"""
    found = doctor(
        tmp_path,
        "app.py",
        app=script,
        lib__of__fallback="print('fallback')",
        either="print('either')",
        last="print('last')",
        never="print('never')",
        old="print('old')",
    )
    assert found.status == 0, found
    assert found.out.splitlines()[:4] == ["fallback", "either", "last", "graftlet doctor: app.py"]
    assert "RUN" not in found.out
    assert "It does not ask for its __name__, so it was not run" in found.out
    assert not (tmp_path / "touched").exists()


def test_a_module_and_a_package(tmp_path: Path) -> None:
    package = {
        "pack__of____init__": "print('init')",
        "pack__of____main__": "from . import inner\nprint('RUN')",
        "pack__of__inner": "print('inner')",
    }
    found = doctor(tmp_path, "-m", "pack", **package)
    assert found.status == 0, found
    assert found.out.splitlines()[:3] == ["init", "inner", "graftlet doctor: -m pack"]
    assert "RUN" not in found.out
    found = doctor(tmp_path, "-m", "pack.inner")
    assert found.out.splitlines()[:2] == ["init", "graftlet doctor: -m pack.inner"]
    found = doctor(tmp_path, "pack")  # a directory with a __main__, as python takes it
    assert found.out.splitlines()[0].startswith("graftlet doctor: pack")


# -- What stays as it was

AWKWARD = """
import threading, time
TABLE = {time.sleep: "a key"}
class Mine(type(threading.RLock())):
    def method(self): ...
def nap():
    yield_from = time.sleep
    yield yield_from
PAUSED = nap()
next(PAUSED)
"""


def test_what_can_not_be_reached_is_named_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "awkward.py"
    for strict, status in ((), 0), (("--strict",), 1):
        found = doctor(tmp_path, *strict, "app.py", app="import awkward", awkward=AWKWARD)
        assert (found.status, found.err) == (status, "")
        assert (
            f"\n  awkward.TABLE ({file}): a key of a dict holds <built-in function sleep>"
            in found.out
        )
        assert f"\n  awkward.Mine ({file}:" in found.out
        assert f"\n  a generator nap ({file}:6) holds <built-in function sleep>" in found.out
        assert "\n3 things to look at.\n" in found.out
    found = doctor(tmp_path, "app.py", "--strict", app="import time")
    assert found.status == 0


def test_threads_that_an_import_starts_stay_native_and_do_not_keep_it(tmp_path: Path) -> None:
    agent = """
import threading
threading.Thread(target=threading.Event().wait, name="agent").start()
"""
    found = doctor(tmp_path, "--strict", "app.py", app="import agent", agent=agent)
    assert (found.status, found.err) == (1, "")
    assert (
        "\n  thread 'agent', which an import has started, is and stays a native one\n" in found.out
    )


def test_libraries_that_block(tmp_path: Path) -> None:
    """Made-up ones: what counts is the name of the module in C."""
    files = {"_pylibmc": "", "grpc__of____init__": "from grpc import _cython"}
    (tmp_path / "grpc" / "_cython").mkdir(parents=True)
    (tmp_path / "grpc" / "_cython" / "__init__.py").write_text("from grpc._cython import cygrpc")
    (tmp_path / "grpc" / "_cython" / "cygrpc.py").write_text("")
    script = "import sqlite3, grpc, _pylibmc"
    found = doctor(tmp_path, "app.py", app=script, **files)
    assert found.status == 0, found
    assert (
        "\n  sqlite3: nothing to do (the calls of each connection in a native thread)\n"
        in found.out
    )
    assert (
        "\n  _pylibmc: its calls keep all greenlets waiting: call them with graftlet.offload"
        in found.out
    )
    assert 'graftlet.patch_all(native={"grpc"})' in found.out
    assert "\n2 things to look at.\n" in found.out
    assert doctor(tmp_path, "app.py", "--strict").status == 1
    found = doctor(tmp_path, "--strict", "app.py", app="import json")
    assert found.status == 0
    assert "\n  none that graftlet knows\n" in found.out


# -- What goes wrong


def test_imports_that_fail(tmp_path: Path) -> None:
    script = "import time\nimport helper\n"
    found = doctor(tmp_path, "app.py", app=script, helper="\n1 / 0")
    assert (found.status, found.err) == (1, "")
    place = tmp_path / "helper.py"
    assert (
        f"Incomplete: the imports failed: ZeroDivisionError: division by zero ({place}:2)"
        in found.out
    )
    assert found.out.endswith("Not all could be examined: see above.\n")
    found = doctor(tmp_path, "app.py", helper="raise SystemExit(3)")
    assert found.status == 1
    assert "the imports ended the program: SystemExit(3)" in found.out
    found = doctor(tmp_path, "app.py", app="import time\nimport import")
    assert found.status == 1
    assert "the imports failed: SyntaxError" in found.out


def test_no_such_program(tmp_path: Path) -> None:
    found = doctor(tmp_path, "nosuch.py")
    assert (found.status, found.out) == (2, "")
    assert found.err == (
        f"graftlet doctor: can't open {str(tmp_path / 'nosuch.py')!r}: No such file or directory\n"
    )
    found = doctor(tmp_path, "-m", "nosuch")
    assert (found.status, found.out) == (2, "")
    assert "no module named 'nosuch'" in found.err


def test_a_program_that_patches_itself(tmp_path: Path) -> None:
    found = doctor(
        tmp_path, "app.py", app="import helper", helper="import graftlet; graftlet.patch_all()"
    )
    assert found.status == 0
    assert "The program patches itself when it is imported" in found.out


@pytest.mark.parametrize(
    ("line", "target", "is_module", "strict"),
    [
        ("a.py", "a.py", False, False),
        ("--strict a.py", "a.py", False, True),
        ("a.py --strict", "a.py", False, True),
        ("-m a", "a", True, False),
        ("-ma --strict", "a", True, True),
        ("--strict -m a", "a", True, True),
    ],
)
def test_the_command_line(line: str, target: str, is_module: bool, strict: bool) -> None:
    command = parse(["doctor", *line.split()])
    assert (command.kind, command.target) == ("doctor", target)
    assert (command.is_module, command.strict) == (is_module, strict)


@pytest.mark.parametrize("line", ["", "--strict", "-m", "-x a.py", "a.py b", "-c pass"])
def test_a_wrong_command_line(line: str) -> None:
    with pytest.raises(UsageError):
        parse(["doctor", *line.split()])


def test_a_program_of_that_name() -> None:
    assert parse(["--", "doctor", "x"]).kind == "file"
    assert parse(["./doctor"]).kind == "file"
    assert parse(["-m", "doctor"]).kind == "module"
    assert parse(["doctor", "--help"]).kind == "help"


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("import a\na.run()", "import a"),
        ("x = start()\nimport a", "import a"),
        (
            "ROOT = '/x'\nimport sys\nsys.path.append(ROOT)",
            "ROOT = '/x'\nimport sys\nsys.path.append(ROOT)",
        ),
        ("import sys\nsys.path.append(root())", "import sys"),
        ("import sys\nsys.exit(1)", "import sys"),
        ("with x():\n    import a\n    b()", "import a"),
        ("try:\n    go()\nfinally:\n    import a", "import a"),
        ("try:\n    import a\nexcept E:\n    go()", "try:\n    import a\nexcept E:\n    pass"),
        ("if go():\n    import a\nelse:\n    import b", "import a\nimport b"),
        ("def f():\n    import a", ""),
        ("async def f():\n    import a", ""),
        ("(y := 1)\nfor x in y:\n    import a", "import a"),
    ],
)
def test_what_is_kept_of_a_program(source: str, kept: str) -> None:
    from graftlet.launch._importing import _Filter

    tree = ast.parse(source)
    tree.body = _Filter().imports(tree.body)
    assert ast.unparse(tree) == kept
    assert importing_code(source, "x.py")[1] is False
    assert importing_code(source + "\nif '__main__' == __name__: pass", "x.py")[1] is True

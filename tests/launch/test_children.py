"""``--follow-children``: which processes start patched, and that nothing else changes in them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from graftlet.launch import _children
from tests.launch.harness import launched, outcome, start, write
from tests.launch.test_launcher import NO, PATCHED, YES

HOOK = Path(_children.__file__).with_name("sitecustomize.py")
FOLLOW = "--follow-children"
CHILD = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {PATCHED!r}])\n"


def test_the_variable() -> None:
    directory = str(HOOK.parent)
    for before, after in [
        ({}, directory),
        ({"PYTHONPATH": ""}, directory),
        ({"PYTHONPATH": "a"}, f"{directory}{os.pathsep}a"),
        (
            {"PYTHONPATH": f"a{os.pathsep}{os.pathsep}"},
            f"{directory}{os.pathsep}a{os.pathsep}{os.pathsep}",
        ),
    ]:
        environment = dict(before)
        _children.follow(environment)
        assert environment == {"PYTHONPATH": after}
        _children.follow(environment)
        assert environment == {"PYTHONPATH": after}


def test_children_are_left_alone_without_the_option(tmp_path: Path) -> None:
    assert launched(["-c", CHILD], tmp_path).out == NO


def test_children_and_theirs_are_followed(tmp_path: Path) -> None:
    grandchild = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {CHILD!r}])"
    assert launched([FOLLOW, "-c", grandchild], tmp_path).out == YES


def test_a_child_that_takes_the_process_over_is_followed(tmp_path: Path) -> None:
    text = f"import os, sys\nos.execv(sys.executable, [sys.executable, '-c', {PATCHED!r}])"
    assert launched([FOLLOW, "-c", text], tmp_path).out == YES


@pytest.mark.slow  # starts a spawned process, which imports multiprocessing
def test_multiprocessing_is_followed(tmp_path: Path) -> None:
    text = (
        "import multiprocessing\n"
        f"def work():\n    {PATCHED}\n"
        "if __name__ == '__main__':\n"
        "    for way in ('spawn', 'forkserver'):\n"
        "        process = multiprocessing.get_context(way).Process(target=work)\n"
        "        process.start()\n"
        "        process.join()\n"
    )
    write(tmp_path, {"program.py": text})
    run = launched([FOLLOW, "program.py"], tmp_path)
    assert (run.out, run.err) == (YES * 2, "")


def test_the_switch_is_for_children_too(tmp_path: Path) -> None:
    run = launched([FOLLOW, "-c", CHILD], tmp_path, environment={"GRAFTLET": "0"})
    assert run.out == NO
    text = f"import os; os.environ['GRAFTLET'] = '0'\n{CHILD}{PATCHED}"
    assert launched([FOLLOW, "-c", text], tmp_path).out == NO + YES


@pytest.mark.parametrize("option", ["-I", "-S", "-E"])
def test_options_that_end_it(tmp_path: Path, option: str) -> None:
    child = CHILD.replace("'-c'", f"'{option}', '-c'")
    assert launched([FOLLOW, "-c", child], tmp_path).out == NO


def test_a_child_sees_the_same_path_and_modules(tmp_path: Path) -> None:
    child = "import sys; print(sys.path, 'sitecustomize' in sys.modules)"
    text = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}, 'x'])"
    environment = {"PYTHONPATH": os.pathsep.join(["a", os.environ.get("PYTHONPATH", "")])}
    plain = launched(["-c", text], tmp_path, environment=environment)
    followed = launched([FOLLOW, "-c", text], tmp_path, environment=environment)
    assert followed == plain
    assert plain.out != ""


def test_an_existing_sitecustomize_runs_in_its_place(tmp_path: Path) -> None:
    own = (
        "import sys, time\n"
        "print(__name__, __file__, sys.modules[__name__].__dict__ is globals(),"
        " type(time.sleep) is type(len), flush=True)\n"
    )
    write(tmp_path, {"site/sitecustomize.py": own})
    environment = {
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    }
    child = "import sitecustomize; print(sitecustomize.__file__)"
    text = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    file = tmp_path / "site" / "sitecustomize.py"
    run = launched([FOLLOW, "-c", text], tmp_path, environment=environment)
    assert run.err == ""
    # First the launcher's own interpreter, where nothing is patched when site runs, then the child.
    assert run.out == (f"sitecustomize {file} True True\nsitecustomize {file} True False\n{file}\n")


def test_a_sitecustomize_that_fails_is_reported_as_ever(tmp_path: Path) -> None:
    write(tmp_path, {"site/sitecustomize.py": "1 / 0\n"})
    environment = {
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    }
    plain = launched(["-c", CHILD], tmp_path, environment=environment)
    followed = launched([FOLLOW, "-c", CHILD], tmp_path, environment=environment)
    assert (plain.out, followed.out) == (NO, YES)
    assert followed.err == plain.err
    assert "ZeroDivisionError" in plain.err


def test_a_python_without_graftlet_is_left_in_peace(tmp_path: Path) -> None:
    write(tmp_path, {"sitecustomize.py": "print('the other')\n"})
    text = (
        "import os, runpy, sys\n"
        "sys.path[:] = [p for p in sys.path if not os.path.isdir(os.path.join(p, 'graftlet'))]\n"
        f"runpy.run_path({str(HOOK)!r}, run_name='sitecustomize')\n"
        f"{PATCHED}\n"
    )
    run = outcome(start([sys.executable, "-c", text], tmp_path))
    assert (run.out, run.err) == (f"the other\n{NO}", "")


def test_a_broken_graftlet_is_reported_and_the_program_runs(tmp_path: Path) -> None:
    write(tmp_path, {"sitecustomize.py": "print('the other')\n"})
    text = (
        "import runpy, sys\n"
        "sys.modules['graftlet.patch'] = None\n"
        "try:\n"
        f"    runpy.run_path({str(HOOK)!r}, run_name='sitecustomize')\n"
        "except ImportError as error:\n"
        "    print(error.name)\n"
    )
    run = outcome(start([sys.executable, "-c", text], tmp_path))
    assert (run.out, run.err) == ("the other\ngraftlet.patch\n", "")

"""What the launcher does that plain ``python`` does not, and what differential cases can't show."""

from __future__ import annotations

import os
import pty
import py_compile
import sys
import zipfile
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from tests.launch.harness import both, clean_environment, launched, outcome, start, write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# time.sleep is a C function as long as nothing is patched.
PATCHED = "import time; print(type(time.sleep) is not type(len))"
YES, NO = "True\n", "False\n"

LOOK = "import sys; print(__name__, __file__, sys.argv, sys.path[0], len(sys.path))\n"


def executable(path: Path, text: str | bytes) -> str:
    write(path.parent, {path.name: text})
    path.chmod(0o755)
    return str(path)


# ---- The two entries, and the switch -----------------------------------------------------------


def test_version(tmp_path: Path) -> None:
    run = launched(["--version"], tmp_path)
    assert (run.out, run.err, run.status) == (f"graftlet {version('graftlet')}\n", "", 0)


def test_the_program_is_patched(tmp_path: Path) -> None:
    assert launched(["-c", PATCHED], tmp_path).out == YES


def test_the_switch(tmp_path: Path) -> None:
    code = f"{PATCHED}\nimport graftlet; print(graftlet.is_patched('time'))"
    assert launched(["-c", code], tmp_path, environment={"GRAFTLET": "0"}).out == f"{NO}False\n"


def test_packages_that_stay_native(tmp_path: Path) -> None:
    look = "import time; native = type(time.sleep) is type(len)"
    write(tmp_path, {"agent.py": look, "library.py": look, "other.py": look})
    code = (
        "import agent, library, other, subprocess, sys\n"
        "print(agent.native, library.native, other.native, flush=True)\n"
        "if len(sys.argv) < 2:\n"
        "    subprocess.run([sys.executable, 'program.py', 'child'])\n"
    )
    write(tmp_path, {"program.py": code})
    options = ["--follow-children", "--native", "agent"]
    run = launched([*options, "program.py"], tmp_path, environment={"GRAFTLET_NATIVE": "library, "})
    assert (run.out, run.err) == ("True True False\n" * 2, "")


@pytest.mark.parametrize("name", ["threading", "not-a-name"])
def test_a_name_that_cannot_be_a_package(tmp_path: Path, name: str) -> None:
    run = launched(["--native", name, "-c", "print('wrong')"], tmp_path)
    assert (run.out, run.status) == ("", 2)
    assert run.err.startswith(f"graftlet: GRAFTLET_NATIVE has {name!r}, which ")


def test_the_installed_command_is_the_same(tmp_path: Path) -> None:
    write(tmp_path, {"program.py": LOOK + "1 / 0\n"})
    command = executable(
        tmp_path / "bin" / "graftlet",
        f"#!{sys.executable}\nimport sys\nfrom graftlet.launch import main\n"
        "if __name__ == '__main__':\n    sys.exit(main())\n",
    )
    for arguments in (
        ["program.py", "x"],
        ["-m", "program"],
        ["nothing.py"],
        ["-c", "raise KeyboardInterrupt"],
        ["-c", "import sys; sys.exit('x')"],
    ):
        plain, other = both(arguments, tmp_path, launcher=[command])
        assert other == plain


def test_start_up_imports_next_to_nothing(tmp_path: Path) -> None:
    expensive = {"argparse", "asyncio", "logging", "pathlib", "pkgutil", "shutil", "subprocess"}
    code = f"import sys; print(sorted(set(sys.modules) & {expensive}))"
    run = launched(["-c", code], tmp_path, environment={"GRAFTLET": "0"})
    assert run.out == "[]\n"


def test_a_module_beside_the_script_is_not_taken_for_graftlets(tmp_path: Path) -> None:
    names = ("queue", "select", "selectors", "socket", "runpy", "importlib", "linecache", "_thread")
    write(tmp_path, {"a/program.py": "print(1)\n"})
    write(tmp_path, {f"a/{name}.py": "raise SystemError" for name in names})
    run = launched(["a/program.py"], tmp_path)
    assert (run.out, run.err, run.status) == ("1\n", "", 0)


# ---- An installed program ----------------------------------------------------------------------


def on_path(*directories: Path) -> Mapping[str, str]:
    return {"PATH": os.pathsep.join([*map(str, directories), os.environ["PATH"]])}


@pytest.mark.parametrize(
    "first_lines",
    [
        "#!/usr/bin/env python3\n",
        "#!/some where/python3.10 -E\n",
        "#!/bin/sh\n'''exec' \"/some where/python\" \"$0\" \"$@\"\n' '''\n",
        "#!/opt/pypy/bin/pypy3\n",
    ],
)
def test_a_program_on_path(tmp_path: Path, first_lines: str) -> None:
    path = executable(tmp_path / "bin" / "some-tool", first_lines + LOOK)
    run = launched(["some-tool", "--version"], tmp_path, environment=on_path(tmp_path / "bin"))
    assert run.err == ""
    plain = outcome(start([sys.executable, path, "--version"], tmp_path))
    assert (run.out, run.status) == (plain.out, 0)
    assert run.out.startswith(f"__main__ {path} [{path!r}, '--version'] {tmp_path / 'bin'} ")


def test_a_program_that_is_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "bin" / "tool"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__main__.py", "import sys; print(sys.argv)")
    path.chmod(0o755)
    run = launched(["tool"], tmp_path, environment=on_path(tmp_path / "bin"))
    assert (run.out, run.status) == (f"[{str(path)!r}]\n", 0)


def test_a_file_comes_before_a_program(tmp_path: Path) -> None:
    executable(tmp_path / "bin" / "tool", "#!/usr/bin/env python\nprint('program')\n")
    write(tmp_path, {"tool": "print('file')\n"})
    run = launched(["tool"], tmp_path, environment=on_path(tmp_path / "bin"))
    assert run.out == "file\n"


def test_a_program_with_a_directory_is_not_searched(tmp_path: Path) -> None:
    executable(tmp_path / "bin" / "tool", "#!/usr/bin/env python\nprint('program')\n")
    plain, other = both(["./tool"], tmp_path, environment=on_path(tmp_path / "bin"))
    assert other == plain
    assert plain.status == 2


def test_a_program_that_is_not_python(tmp_path: Path) -> None:
    path = executable(tmp_path / "bin" / "tool", "#!/bin/sh\necho python\n")
    run = launched(["tool"], tmp_path, environment=on_path(tmp_path / "bin"))
    assert (run.out, run.status) == ("", 2)
    assert run.err.startswith(f"graftlet: {path} is not a Python program")
    executable(tmp_path / "bin" / "tool", b"\x7fELF\x00\x00")
    run = launched(["tool"], tmp_path, environment=on_path(tmp_path / "bin"))
    assert run.err.startswith(f"graftlet: {path} is not a Python program")


def test_a_wrapper_in_another_language_hides_nothing(tmp_path: Path) -> None:
    executable(tmp_path / "shims" / "tool", "#!/bin/sh\nexec tool\n")
    executable(tmp_path / "bin" / "tool", "#!/usr/bin/env python\nprint('python')\n")
    directories = on_path(tmp_path / "shims", tmp_path / "bin")
    assert launched(["tool"], tmp_path, environment=directories).out == "python\n"


def test_what_is_not_executable_is_no_program(tmp_path: Path) -> None:
    write(tmp_path, {"bin/tool": "#!/usr/bin/env python\n", "bin/directory/x": ""})
    for name in ("tool", "directory", "nothing"):
        plain, other = both([name], tmp_path, environment=on_path(tmp_path / "bin"))
        assert other == plain


# ---- Compiled files, other processes, a terminal -----------------------------------------------


def test_a_compiled_file(tmp_path: Path) -> None:
    write(tmp_path, {"source.py": "import sys\nprint(__file__, __loader__, sys.argv)\n1 / 0\n"})
    py_compile.compile(str(tmp_path / "source.py"), str(tmp_path / "program.pyc"), doraise=True)
    compiled = (tmp_path / "program.pyc").read_bytes()
    write(
        tmp_path,
        {
            "noending": compiled,
            "old.pyc": b"\x00\x00\r\n" + compiled[4:],
            "short.pyc": compiled[:16],
            "wrong.pyc": compiled[:16] + b"N",
        },
    )
    for name, status in [("program.pyc", 1), ("noending", 1), ("old.pyc", 1), ("wrong.pyc", 1)]:
        plain, other = both([name, "x"], tmp_path)
        assert other == plain
        assert plain.status == status
    assert launched(["short.pyc"], tmp_path).status == 1  # the wording is marshal's, not the same


@pytest.mark.slow  # starts a spawned process, which imports multiprocessing, on each side
def test_multiprocessing_spawn_finds_main(tmp_path: Path) -> None:
    text = (
        "import multiprocessing, sys\n"
        "class Own:\n    pass\n"
        "def work(queue):\n    queue.put((Own(), __name__, sys.argv))\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    queue = context.SimpleQueue()\n"
        "    process = context.Process(target=work, args=(queue,))\n"
        "    process.start()\n"
        "    own, name, argv = queue.get()\n"
        "    process.join()\n"
        "    print(isinstance(own, Own), name, argv, process.exitcode)\n"
    )
    write(tmp_path, {"program.py": text, "package/__init__.py": "", "package/module.py": text})
    for arguments in (["program.py", "x"], ["-m", "package.module", "x"]):
        plain, other = both(arguments, tmp_path)
        assert other == plain
        assert plain.status == 0
        assert plain.out.startswith("True __mp_main__ ")


def test_a_terminal_gets_a_console(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    process = start(
        [sys.executable, "-m", "graftlet", "-"], tmp_path, environment={"TERM": "dumb"}, stdin=slave
    )
    os.close(slave)
    os.write(master, b"import sys; print(__name__, sys.argv, 6 * 7)\nsys.exit(3)\n")
    run = outcome(process)
    os.close(master)
    assert "__main__ ['-'] 42\n" in run.out
    assert run.status == 3


def test_the_directory_may_be_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    runs = []
    for words in (["-m", "this"], ["-m", "graftlet", "-m", "this"]):
        gone.mkdir(exist_ok=True)
        command = [sys.executable, *words]
        text = f"import os; os.rmdir({str(gone)!r}); os.execv({sys.executable!r}, {command})"
        runs.append(outcome(start([sys.executable, "-c", text], gone)))
    assert runs[0] == runs[1]
    assert runs[0].status == 0


def test_main_can_be_called(tmp_path: Path) -> None:
    text = (
        "from graftlet.launch import main\nprint(main(['-c', 'import sys; print(sys.argv)', 'x']))"
    )
    run = outcome(start([sys.executable, "-c", text], tmp_path))
    assert (run.out, run.status) == ("['-c', 'x']\nNone\n", 0)


def test_the_environment_of_these_tests_is_clean() -> None:
    assert not [name for name in clean_environment() if name.startswith("GRAFTLET")]

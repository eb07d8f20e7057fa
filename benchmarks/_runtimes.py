"""How a program is started under each runtime, and how we know that it really was.

Rule: the program's file is the same under every runtime and none of them is named in it. A runtime
is a command line; the proof is what the program found out about itself (`_measure.threaded_facts`),
judged here. A program that ran on something else than its runtime is an error, not a figure.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"
GREEN = ("graftlet", "gevent", "eventlet")
# eventlet warns at import that it is deprecated; that is no news here.
QUIET = ("-W", "ignore")
# A thread of the program that is just ending, or one of a runtime's own, may be counted with those
# that eight probes cost: more than half of eight are the probes, a few are not.
PROBES = 8
SOME = PROBES // 2

Parameters = Mapping[str, float]


class Unavailable(Exception):
    """A runtime or a tool that a case needs is not installed; the message says which."""


@dataclass(frozen=True)
class Runtime:
    """A way to run a program.

    `command(program, arguments, workplace)` is the command line; `judge(evidence)` lists what in
    the program's own account contradicts that it ran here. `orientation` runtimes run a program of
    their own that does the same work; they are shown beside the others and enter no mean.
    """

    name: str
    command: Callable[[str, Sequence[str], Path], list[str]]
    judge: Callable[[Mapping[str, Any]], list[str]]
    needs: tuple[str, ...] = ()
    needs_commands: tuple[str, ...] = ()
    orientation: bool = False

    def missing(self) -> list[str]:
        """Modules and commands that have to be installed first."""
        modules = [name for name in self.needs if importlib.util.find_spec(name) is None]
        commands = [name for name in self.needs_commands if shutil.which(name) is None]
        return modules + commands


def options(parameters: Parameters) -> list[str]:
    """`--name value` for each parameter, as the programs take them."""
    return [word for name, value in parameters.items() for word in (f"--{name}", str(value))]


def native_command(api: str, program: str, arguments: Sequence[str]) -> list[str]:
    """The command line of a program that uses a runtime's own API."""
    return [sys.executable, *QUIET, str(PROGRAMS / program), "--api", api, *arguments]


def judge_native(api: str, evidence: Mapping[str, Any]) -> list[str]:
    """What contradicts that a program of a native API ran on it."""
    wrong = []
    if evidence.get("api") != api:
        wrong.append(f"its greenlets are {evidence.get('api')}'s")
    if evidence.get("native_threads_for_8", 0) > SOME:
        wrong.append("its greenlets cost native threads")
    return wrong + _foreign(evidence, api)


def _script(*launcher: str) -> Callable[[str, Sequence[str], Path], list[str]]:
    def command(program: str, arguments: Sequence[str], workplace: Path) -> list[str]:
        return [sys.executable, *launcher, str(PROGRAMS / program), *arguments]

    return command


def _async(loop: str, style: str) -> Callable[[str, Sequence[str], Path], list[str]]:
    def command(program: str, arguments: Sequence[str], workplace: Path) -> list[str]:
        kind = ["--loop", loop, "--style", style]
        return [sys.executable, str(PROGRAMS / "async_echo.py"), *kind, *arguments]

    return command


def _floor(program: str, arguments: Sequence[str], workplace: Path) -> list[str]:
    """Compile the C program once a session; a compiler error ends it."""
    binary = workplace / "echo_floor"
    if not binary.exists():
        source = HERE / "floor" / "echo_floor.c"
        compiler = ["cc", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-o", str(binary), str(source)]
        subprocess.run(compiler, check=True)
    return [str(binary), *arguments]


def _foreign(evidence: Mapping[str, Any], own: str | None) -> list[str]:
    loaded = set(evidence.get("loaded", ()))
    wrong = [f"{name} is loaded too" for name in GREEN if name in loaded and name != own]
    if own is not None and own not in loaded:
        wrong.append(f"{own} isn't loaded")
    return wrong


def _judge_threads(evidence: Mapping[str, Any]) -> list[str]:
    wrong = _foreign(evidence, None)
    if evidence.get("native_threads_for_8", 0) <= SOME:
        wrong.append("its threads aren't native threads")
    if not evidence.get("sleep_is_builtin"):
        wrong.append("time.sleep is patched")
    return wrong


def _judge_green(own: str) -> Callable[[Mapping[str, Any]], list[str]]:
    def judge(evidence: Mapping[str, Any]) -> list[str]:
        wrong = _foreign(evidence, own)
        if evidence.get("native_threads_for_8", PROBES) > SOME:
            wrong.append("its threads are native threads")
        if evidence.get("sleep_is_builtin", True):
            wrong.append("time.sleep isn't patched")
        return wrong

    return judge


def _judge_loop(loop: str) -> Callable[[Mapping[str, Any]], list[str]]:
    def judge(evidence: Mapping[str, Any]) -> list[str]:
        wrong = _foreign(evidence, None)
        if evidence.get("loop") != loop:
            wrong.append(f"its event loop is {evidence.get('loop')}'s")
        return wrong

    return judge


def _judge_floor(evidence: Mapping[str, Any]) -> list[str]:
    return [] if evidence.get("kind") == "C" else ["it isn't the C program"]


RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        Runtime(
            "graftlet", _script("-m", "graftlet"), _judge_green("graftlet"), needs=("graftlet",)
        ),
        Runtime("gevent", _script("-m", "gevent.monkey"), _judge_green("gevent"), ("gevent",)),
        Runtime(
            "eventlet",
            _script(*QUIET, str(HERE / "_eventlet_launcher.py")),
            _judge_green("eventlet"),
            ("eventlet",),
        ),
        Runtime("threads", _script(), _judge_threads),
        Runtime("floor", _floor, _judge_floor, needs_commands=("cc",), orientation=True),
        Runtime("asyncio", _async("asyncio", "streams"), _judge_loop("asyncio"), orientation=True),
        Runtime(
            "uvloop",
            _async("uvloop", "streams"),
            _judge_loop("uvloop"),
            ("uvloop",),
            orientation=True,
        ),
        Runtime(
            "uvloop-protocol",
            _async("uvloop", "protocol"),
            _judge_loop("uvloop"),
            ("uvloop",),
            orientation=True,
        ),
    )
}
MAIN = tuple(name for name, runtime in RUNTIMES.items() if not runtime.orientation)
ORIENTATION = tuple(name for name, runtime in RUNTIMES.items() if runtime.orientation)

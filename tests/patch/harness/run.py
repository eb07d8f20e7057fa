"""Starting the interpreters, and comparing what they printed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

import graftlet
from tests.patch.harness import tools

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _pytest.mark.structures import ParameterSet

#: Seconds: a whole module of cases. One that hangs is ended earlier, by child.py.
LONGEST_RUN: Final = 240
_ROOT: Final = Path(__file__).parents[3]
_CHILD: Final = Path(__file__).with_name("child.py")

#: What runs, by name: the mode of child.py, and the environment.
MODES: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "plain": ("plain", {}),
    "first": ("first", {}),
    "last": ("last", {}),
}
#: For whatever waits for descriptors.
POLLERS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "poll": ("first", {"GRAFTLET_POLLER": "poll"}),
    "select": ("last", {"GRAFTLET_POLLER": "select"}),
}


def environment(extra: dict[str, str]) -> dict[str, str]:
    """That of a fresh interpreter which finds this graftlet and these tests."""
    variables = {name: text for name, text in os.environ.items() if not name.startswith("GRAFTLET")}
    source = str(Path(graftlet.__file__).parents[1])
    path = filter(None, (str(_ROOT), source, variables.get("PYTHONPATH", "")))
    variables.pop("PYTHONUNBUFFERED", None)  # the standard streams are as a program finds them
    return {**variables, "PYTHONPATH": os.pathsep.join(path), **extra}


@dataclass
class Run:
    """What one interpreter made of all the cases of a module."""

    outcomes: dict[str, str] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)


class Suite:
    """The cases of one module, and their outcomes in every mode, run when first asked for."""

    def __init__(self, name: str, *, pollers: bool = False) -> None:
        self._module = f"tests.patch.harness.cases.{name}"
        self._modes = {**MODES, **POLLERS} if pollers else MODES
        self.names = tuple(tools.cases_of(import_module(self._module)))
        self._runs: dict[str, Run] | None = None

    def runs(self) -> dict[str, Run]:
        if self._runs is None:
            started = {name: self._start(name, ()) for name in self._modes}
            self._runs = {name: self._finish(name, process) for name, process in started.items()}
        return self._runs

    def _start(self, name: str, done: Iterable[str]) -> subprocess.Popen[str]:
        mode, extra = self._modes[name]
        return subprocess.Popen(
            [sys.executable, "-Werror", "-Xfaulthandler", _CHILD, mode, self._module, *done],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(extra),
            start_new_session=True,
        )

    def _finish(self, name: str, process: subprocess.Popen[str]) -> Run:
        run = Run()
        while True:
            with process:
                try:
                    out, err = process.communicate(timeout=LONGEST_RUN)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)  # its children may have the pipes
                    out, err = process.communicate()
            for line in out.splitlines():
                case, run.outcomes[case], run.details[case] = json.loads(line)
            current, said = "", ""
            for line in err.splitlines():
                if line in self.names:
                    self._note(run, current, said)
                    current, said = line, ""
                else:
                    said += f"{line}\n"
            if not current or current in run.outcomes:
                self._note(run, current, said)
                assert process.returncode == 0, err
                return run
            # It crashed or hung: the other cases get an interpreter of their own.
            run.outcomes[current] = f"ended the interpreter with status {process.returncode}"
            run.details[current] = said
            process = self._start(name, run.outcomes)

    @staticmethod
    def _note(run: Run, case: str, said: str) -> None:
        """Whatever a case prints on stderr belongs to its outcome."""
        if said:
            assert case in run.outcomes, said
            run.outcomes[case] += f", and said {said}"

    def differences(self, case: str) -> list[str]:
        """Where the outcome of a case is not that of plain Python."""
        runs = self.runs()
        expected = runs["plain"].outcomes[case]
        found = [
            f"{name}: {run.outcomes[case]}\n{run.details[case]}"
            for name, run in runs.items()
            if run.outcomes[case] != expected
        ]
        return (
            [f"{case}\nplain: {expected}\n{runs['plain'].details[case]}", *found] if found else []
        )

    def parameters(self, gaps: dict[str, str] | None = None) -> list[ParameterSet]:
        """The names of the cases, for ``pytest.mark.parametrize``.

        Args:
            gaps: why a case is known to differ.
        """
        gaps = gaps or {}
        assert gaps.keys() <= set(self.names)
        return [
            pytest.param(name, marks=pytest.mark.xfail(reason=gaps[name], strict=True))
            if name in gaps
            else pytest.param(name)
            for name in self.names
        ]

    def check(self, case: str) -> None:
        """The outcome of one case is the same in every mode."""
        differences = self.differences(case)
        assert not differences, "\n".join(differences)


if __name__ == "__main__":
    for suite in map(Suite, sys.argv[1:]):
        for each in suite.names:
            print("\n".join(suite.differences(each)))

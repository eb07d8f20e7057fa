"""One whole script under plain Python and under graftlet: output, errors and exit status must be the same.

For what the end of a process shows. Each script has a line ``PATCH_HERE``: before it are the imports, and
whatever else is to exist before patching in mode ``last``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

from tests.patch.harness.run import environment

MODES: Final = ("plain", "first", "last")
#: Seconds, for one script or for a set of them. One that hangs is ended earlier, by zygote.py.
LONGEST_RUN: Final = 240
_PATCH: Final = "import graftlet; graftlet.patch_all()"
_ZYGOTE: Final = Path(__file__).with_name("zygote.py")


def _source(script: str, mode: str) -> str:
    """The script as it is run: the lines stay where they are."""
    lines = textwrap.dedent(script).strip("\n").splitlines()
    place = lines.index("PATCH_HERE")
    lines[place] = _PATCH if mode == "last" else ""
    return "\n".join([_PATCH if mode == "first" else "", *lines, ""])


class Scripts:
    """Scripts by name, each run in a fork of an interpreter that has done nothing else yet."""

    def __init__(self, scripts: dict[str, str]) -> None:
        self._scripts = scripts
        self._outcomes: dict[str, dict[str, str]] | None = None

    def _run(self) -> dict[str, dict[str, str]]:
        started = {mode: _start(mode, str(_ZYGOTE), mode) for mode in MODES}
        found = {}
        for mode, process in started.items():
            # What is patched already in a fork of mode ``first`` stays patched: the same source does.
            sources = {name: _source(script, mode) for name, script in self._scripts.items()}
            out, err = process.communicate(json.dumps(sources), timeout=LONGEST_RUN)
            assert process.returncode == 0, err
            found[mode] = {name: _comparable(*each) for name, each in json.loads(out).items()}
        return found

    def check(self, name: str) -> None:
        """The script does the same in every mode."""
        if self._outcomes is None:
            self._outcomes = self._run()
        _compare({mode: outcomes[name] for mode, outcomes in self._outcomes.items()})


def check(script: str) -> str:
    """The script, in an interpreter of its own, does the same in every mode; returns what."""
    started = {mode: _start(mode, "-c", _source(script, mode)) for mode in MODES}
    found = {}
    for mode, process in started.items():
        out, err = process.communicate(timeout=LONGEST_RUN)
        found[mode] = _comparable(process.returncode, out, err)
    _compare(found)
    return found["plain"]


def _start(mode: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-Xfaulthandler", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment({}),
    )


def _comparable(status: int, out: str, err: str) -> str:
    # Below the line that waits, a traceback shows graftlet's own; above all others, the zygote's.
    err = re.sub(r'  File "[^"]*(?:/graftlet/|zygote\.py).*\n(?:    .*\n)*', "", err)
    text = f"status {status}\n{out}----\n{err}"
    return re.sub(r"\b0x[0-9a-f]{6,}|\b\d{12,}", "N", text)


def _compare(found: dict[str, str]) -> None:
    for mode, text in found.items():
        assert text == found["plain"], f"{mode}:\n{text}\nplain:\n{found['plain']}"

"""Small scripts in fresh interpreters: for whatever patches, or depends on the environment.

Rule: a script runs in an empty directory, with the same graftlet as the test; its exit status and
all of its output are looked at.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import graftlet

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds.
LONGEST_RUN = 120


@dataclass(frozen=True)
class Outcome:
    """How a script ended."""

    status: int
    out: str
    err: str


def run(
    script: str, *arguments: str, environment: Mapping[str, str] | None = None, stdin: str = ""
) -> Outcome:
    """Run `script` (indented as it likes) in a fresh interpreter and return how it ended."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("GRAFTLET_")}
    # Where this graftlet is, if it is not installed.
    source = str(Path(graftlet.__file__).parents[1])
    variables["PYTHONPATH"] = os.pathsep.join(
        filter(None, (source, variables.get("PYTHONPATH", "")))
    )
    variables.update(environment or {})
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "script.py").write_text(textwrap.dedent(script), encoding="utf-8")
        with subprocess.Popen(
            [sys.executable, "-Werror", "-Xfaulthandler", "script.py", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=directory,
            env=variables,
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(stdin, timeout=LONGEST_RUN)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)  # faulthandler tells where it hangs
                process.wait()
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # its children may have the pipes
                out, err = process.communicate()
    return Outcome(process.returncode, out, err)


def run_ok(
    script: str, *arguments: str, environment: Mapping[str, str] | None = None, stdin: str = ""
) -> str:
    """As `run`; the script must succeed without a word on stderr. Returns what it printed."""
    outcome = run(script, *arguments, environment=environment, stdin=stdin)
    assert (outcome.status, outcome.err) == (0, ""), outcome
    return outcome.out

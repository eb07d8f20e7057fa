"""The interpreter that is judged, and how a script is run on it.

Rule: the interpreter is asked, never guessed at; the judge itself may be another version.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

UNDER: Final = ("graftlet", "gevent", "plain")

_QUESTIONS = """
import importlib.metadata, importlib.util, json, platform, sys
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
spec = importlib.util.find_spec("test.support")
print(json.dumps({
    "implementation": platform.python_implementation(),
    "version": platform.python_version(),
    "minor": "%d.%d" % sys.version_info[:2],
    "build": sys.version,
    "machine": platform.machine(),
    "virtual": sys.prefix != sys.base_prefix,
    "test_package": None if spec is None else spec.submodule_search_locations[0],
    "graftlet": version("graftlet"),
    "gevent": version("gevent"),
    "greenlet": version("greenlet"),
}))
"""

_SAME: Final = ("build", "machine", "virtual")  # what makes results comparable


class TargetError(Exception):
    """The interpreter cannot be judged as asked; the message says why and what to do."""


@dataclass(frozen=True)
class Target:
    """An interpreter, as it described itself."""

    python: str
    about: dict[str, Any]

    @property
    def minor(self) -> str:
        """The version as expected.toml names it, such as "3.13"."""
        return str(self.about["minor"])

    @property
    def test_directory(self) -> Path:
        return Path(self.about["test_package"]).parent

    def key(self, *conditions: object) -> str:
        """Names results that may be compared: same build, same conditions."""
        text = repr([*(self.about[name] for name in _SAME), conditions])
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        name = str(self.about["implementation"]).lower()
        return f"{name}-{self.about['version']}-{digest}"

    def command(self, under: str, follow_children: bool = True) -> list[str]:
        """The start of a command line that runs a script on this interpreter."""
        if under == "plain":
            return [self.python]
        if under == "gevent":
            return [self.python, "-m", "gevent.monkey"]
        follow = ["--follow-children"] if follow_children else []
        return [self.python, "-m", "graftlet", *follow]

    def runtime(self, under: str) -> str:
        """What runs the tests, with its version: "graftlet 0.1", "gevent 26.9.0", "plain"."""
        return under if under == "plain" else f"{under} {self.about[under]}"


def identify(python: str, under: str) -> Target:
    """Ask `python` what it is. Raises TargetError if it cannot run the tests that way."""
    try:
        answer = subprocess.run(
            [python, "-c", _QUESTIONS],
            check=True,
            stdout=subprocess.PIPE,
            timeout=60,
            cwd="/",
            env=environment(),
        )
    except (OSError, subprocess.SubprocessError) as problem:
        raise TargetError(f"{python} does not run: {problem}") from problem
    about = json.loads(answer.stdout)
    if about["test_package"] is None:
        raise TargetError(
            f"{python} ({about['version']}) has no `test.support`: its distribution leaves "
            f"CPython's test suite out. Install the full one (Debian: libpython3-testsuite)."
        )
    if under != "plain" and not about[under]:
        raise TargetError(
            f"{under} is not installed for {python}; the runner judges the installed package: "
            f"`{python} -m pip install {'.' if under == 'graftlet' else under}`"
        )
    return Target(python, about)


def environment(temporary: str | None = None) -> dict[str, str]:
    """The environment of a judged process: only what a test may depend on.

    Proxies, displays, agents' sockets, PYTHON* and CI variables stay out. String hashes are fixed,
    so that the order of sets is the same in the run under plain Python and in the other.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "USER", "TZ") if name in os.environ}
    kept["LANG"] = "C.UTF-8"
    kept["PYTHONHASHSEED"] = "0"
    if temporary is not None:
        kept["TMPDIR"] = temporary
    return kept

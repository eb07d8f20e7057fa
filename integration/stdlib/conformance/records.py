"""What is known about one run of one file, and where it is kept between runs.

Rule: these are plain values that survive JSON unchanged; no module here acts on them. Results live
outside the repository, one JSON file for each interpreter, way of running ("under") and test file.
A change to what is stored, or to what the driver does, needs a new FORMAT: older files are then
not found, and are made anew.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

FORMAT: Final = 1

OK: Final = "ok"
SKIP: Final = "skip"
HANG: Final = "hang"
CRASH: Final = "crash"
ABORT: Final = "abort"  # an exception left the test runner itself: KeyboardInterrupt, as a rule
MISSING: Final = "missing"  # the test does not exist in this run, though it does under plain Python
IMPORT: Final = "<import>"  # stands for loading the file
EXIT: Final = "<exit>"  # stands for the end of the process after the last test


@dataclass(frozen=True)
class Outcome:
    """How one test ended: "ok", "skip", "xfail", "fail", "error", or one of the names above."""

    outcome: str
    seconds: float = 0.0
    detail: str = ""


@dataclass
class Run:
    """One run of one test file: as many processes as hangs and crashes made necessary."""

    tests: dict[str, Outcome] = field(default_factory=dict)
    # Failures that belong to no test: fixtures ("tearDownClass (...)"), IMPORT and EXIT.
    extra: dict[str, Outcome] = field(default_factory=dict)
    skipped: str = ""  # why the whole module was skipped, if it was
    seconds: float = 0.0
    processes: int = 0
    leftovers: list[str] = field(default_factory=list)  # processes that outlived their test file

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Run:
        tests = {key: Outcome(**each) for key, each in data.pop("tests").items()}
        extra = {key: Outcome(**each) for key, each in data.pop("extra").items()}
        return cls(tests=tests, extra=extra, **data)


class Store:
    """The JSON files of one interpreter: ROOT/<interpreter>/<under>/<file>.json."""

    def __init__(self, root: Path, interpreter: str) -> None:
        self.root = root / f"v{FORMAT}" / interpreter

    def _path(self, under: str, file: str) -> Path:
        return self.root / under / f"{file}.json"

    def load(self, under: str, file: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(self._path(under, file).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return found

    def save(self, under: str, file: str, data: dict[str, Any]) -> Path:
        path = self._path(under, file)
        write_json(path, data)
        return path

    def forget(self, under: str, file: str) -> None:
        self._path(under, file).unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Write whole or not at all: two runs may share the directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(path)


def default_root() -> Path:
    """The user's cache directory, as the XDG Base Directory Specification names it."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "graftlet-conformance"

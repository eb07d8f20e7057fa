"""expected.toml: the tests that pass under plain Python and not under graftlet, each with its reason.

Rule: an entry names one test of one file exactly, in named versions. There are no patterns, no
whole files and no retries; whatever is not understood is an error, not a default.
"""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CANNOT_HOLD: Final = "cannot hold"
OPEN_FAULT: Final = "open fault"
CLASSES: Final = (CANNOT_HOLD, OPEN_FAULT)
MOST_THAT_CANNOT_HOLD: Final = 20  # in one version

_KEYS: Final = {"file", "test", "versions", "class", "reason"}
_VERSION: Final = re.compile(r"3\.\d+\Z")


class ExpectedError(Exception):
    """expected.toml is wrong; the message names the entry and the cure."""


@dataclass(frozen=True)
class Entry:
    """One exception, for one version."""

    file: str  # such as "test_queue" or "test_asyncio.test_events"
    test: str  # the full id, or "<exit>", "<import>", "tearDownClass (...)"
    version: str  # such as "3.13"
    kind: str  # CANNOT_HOLD or OPEN_FAULT
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.test} on {self.version} ({self.kind}: {self.reason})"


def load(path: Path) -> list[Entry]:
    """Read the file. Raises ExpectedError on anything doubtful."""
    # The standard library has it from 3.11 on.
    name = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    try:
        tomllib: Any = importlib.import_module(name)
    except ModuleNotFoundError as problem:
        raise ExpectedError(
            f"reading {path.name} on Python 3.10 needs tomli (`{sys.executable} -m pip install "
            f"tomli`); or start the runner with a newer Python and name this one by --python"
        ) from problem
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as problem:
        raise ExpectedError(f"{path}: {problem}") from problem
    return parse(data, str(path))


def parse(data: dict[str, Any], where: str) -> list[Entry]:
    """The same on what a TOML reader returned; `where` is named in errors."""
    if set(data) - {"expected"}:
        raise ExpectedError(f"{where}: only [[expected]] is known, not {sorted(data)}")
    entries: list[Entry] = []
    for number, raw in enumerate(data.get("expected", []), 1):
        entries += _entries(raw, f"{where}, entry {number}")
    _check_together(entries, where)
    return entries


def _entries(raw: dict[str, Any], where: str) -> Iterable[Entry]:
    if set(raw) != _KEYS:
        raise ExpectedError(f"{where}: needs exactly {sorted(_KEYS)}, has {sorted(raw)}")
    for key in sorted(_KEYS - {"versions"}):
        if not isinstance(raw[key], str) or not raw[key].strip():
            raise ExpectedError(f"{where}: {key} must be a text that is not empty")
    if raw["class"] not in CLASSES:
        raise ExpectedError(f"{where}: class must be one of {CLASSES}, not {raw['class']!r}")
    for pattern in ("*", "?"):
        if pattern in raw["test"]:
            raise ExpectedError(
                f"{where}: {raw['test']!r} must name one test; write one entry each"
            )
    versions = raw["versions"]
    if not isinstance(versions, list) or not versions:
        raise ExpectedError(f'{where}: versions must be a list such as ["3.10", "3.13"]')
    for version in versions:
        if not isinstance(version, str) or not _VERSION.match(version):
            raise ExpectedError(f'{where}: {version!r} is no version such as "3.13"')
        yield Entry(raw["file"], raw["test"], version, raw["class"], raw["reason"].strip())


def _check_together(entries: list[Entry], where: str) -> None:
    seen: set[tuple[str, str, str]] = set()
    cannot_hold: dict[str, int] = {}
    for entry in entries:
        key = (entry.file, entry.test, entry.version)
        if key in seen:
            raise ExpectedError(f"{where}: two entries for {entry.file}: {entry.test}")
        seen.add(key)
        if entry.kind == CANNOT_HOLD:
            cannot_hold[entry.version] = cannot_hold.get(entry.version, 0) + 1
    for version, count in cannot_hold.items():
        if count > MOST_THAT_CANNOT_HOLD:
            raise ExpectedError(
                f"{where}: {count} entries of class {CANNOT_HOLD!r} for {version}, where at most "
                f"{MOST_THAT_CANNOT_HOLD} are allowed. Change how graftlet is built."
            )


def for_file(entries: Iterable[Entry], file: str, version: str) -> list[Entry]:
    """The entries that are about one file in one version."""
    return [each for each in entries if each.file == file and each.version == version]

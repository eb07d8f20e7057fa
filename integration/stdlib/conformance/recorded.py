"""What docs/conformance.md is made from: the verdict on each file, for each version, in the repository.

Rule: a summary, not the results: what the page says and nothing more. A verdict stays until the same file is
judged again (`--record`), or until another release of that version is: then all of them go.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from integration.stdlib.conformance.records import write_json

if TYPE_CHECKING:
    from pathlib import Path

    from integration.stdlib.conformance.records import Run
    from integration.stdlib.conformance.verdict import Comparison


@dataclass
class Verdict:
    """One file under one runtime."""

    runtime: str  # such as "graftlet 0.1.0"
    proven: bool  # that patching was active
    tests: int  # that exist under plain Python
    counted: int  # that pass it twice
    failures: dict[str, str] = field(default_factory=dict)  # test -> outcome, of those
    extra: dict[str, str] = field(default_factory=dict)  # the same of fixtures, import and exit
    flaky: dict[str, str] = field(default_factory=dict)  # test -> "ok, then fail"
    skipped: str = ""  # why plain Python skips the whole file
    quick: bool = False  # plain Python was asked only about what did not pass

    @property
    def passed(self) -> int:
        return self.counted - len(self.failures)

    @property
    def all_failures(self) -> dict[str, str]:
        return {**self.failures, **self.extra}


def verdict_of(
    comparison: Comparison, plain: Run, runtime: str, *, proven: bool, quick: bool
) -> Verdict:
    """The summary of a comparison."""
    return Verdict(
        runtime=runtime,
        proven=proven,
        tests=comparison.tests,
        counted=len(comparison.counted),
        failures={key: each.outcome for key, each in comparison.failures.items()},
        extra={key: each.outcome for key, each in comparison.extra.items()},
        flaky=comparison.flaky,
        skipped=plain.skipped,
        quick=quick,
    )


@dataclass
class Recorded:
    """All verdicts on one version of Python."""

    minor: str  # as expected.toml names it
    version: str
    files: list[str]  # that there are to judge
    absent: list[str]  # that the interpreter's distribution leaves out
    verdicts: dict[str, dict[str, Verdict]] = field(default_factory=dict)  # by runtime, by file

    def under(self, name: str) -> dict[str, Verdict]:
        """The verdicts under "graftlet" or "gevent", in the order of the files."""
        found = self.verdicts.get(name, {})
        return {file: found[file] for file in self.files if file in found}

    def add(self, directory: Path, under: str, file: str, verdict: Verdict) -> None:
        """Note a verdict in the repository, at once: a run may be broken off."""
        path = directory / f"{self.minor}.json"
        known = _read(path) if path.exists() else None
        if known is not None and known.version == self.version:
            self.verdicts = known.verdicts
        self.verdicts.setdefault(under, {})[file] = verdict
        write_json(path, asdict(self))


def _read(path: Path) -> Recorded:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    verdicts = data.pop("verdicts")
    return Recorded(
        **data,
        verdicts={
            under: {file: Verdict(**each) for file, each in files.items()}
            for under, files in verdicts.items()
        },
    )


def read_all(directory: Path) -> list[Recorded]:
    """Everything that was noted, oldest version first."""
    found = [_read(path) for path in directory.glob("*.json")]
    return sorted(found, key=lambda each: [int(part) for part in each.minor.split(".")])

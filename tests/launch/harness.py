"""The same program under plain ``python`` and under the launcher, each in a fresh interpreter.

Rule: what is compared is what a user and the calling process see: standard output, standard error,
exit status. Addresses of objects are the only thing made equal before comparing. Both run at once,
in the same directory, so the programs in here only read.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SECONDS = 120.0


@dataclass(frozen=True)
class Outcome:
    """What one run left behind."""

    out: str
    err: str
    status: int


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without what would change how Python runs a program."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "GRAFTLET")) or name == "PYTHONPATH"
    }
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment.update(extra or {})
    return environment


def start(
    command: Sequence[str],
    where: Path,
    *,
    environment: Mapping[str, str] | None = None,
    merged: bool = False,
    stdin: int = subprocess.PIPE,
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=where,
        env=clean_environment(environment),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merged else subprocess.PIPE,
        encoding="utf-8",
        errors="surrogateescape",
    )


def outcome(process: subprocess.Popen[str], text: str = "") -> Outcome:
    try:
        out, err = process.communicate(text if process.stdin else None, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Outcome(_without_addresses(out), _without_addresses(err or ""), process.returncode)


def launched(
    arguments: Sequence[str],
    where: Path,
    *,
    options: Sequence[str] = (),
    text: str = "",
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run ``python <options> -m graftlet <arguments>``."""
    command = [sys.executable, *options, "-m", "graftlet", *arguments]
    return outcome(start(command, where, environment=environment), text)


def both(
    arguments: Sequence[str],
    where: Path,
    *,
    options: Sequence[str] = (),
    text: str = "",
    environment: Mapping[str, str] | None = None,
    merged: bool = False,
    launcher: Sequence[str] = ("-m", "graftlet"),
) -> tuple[Outcome, Outcome]:
    """Run a program in both ways: what plain Python did, and what the launcher made of it.

    :param options: the interpreter's.
    :param merged: standard error goes where standard output goes, so their order is compared.
    """
    with (
        start(
            [sys.executable, *options, *arguments], where, environment=environment, merged=merged
        ) as plain,
        start(
            [sys.executable, *options, *launcher, *arguments],
            where,
            environment=environment,
            merged=merged,
        ) as other,
    ):
        try:
            return outcome(plain, text), outcome(other, text)
        finally:
            plain.kill()
            other.kill()


def write(where: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files below a directory, and the directories on their way."""
    for name, content in files.items():
        path = where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_bytes(content.encode())
        else:
            path.write_bytes(content)


def _without_addresses(text: str) -> str:
    return re.sub(r"\b0x[0-9a-f]{6,}", "0x", text)

"""What the project promises around its code: the wheel, the commands of the README, its example."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import graftlet

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15")


def fresh(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, in a directory from which nothing of the project can be imported."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(sys.executable).parent,
    )


def test_the_wheel_is_tested_and_not_the_tree() -> None:
    package = Path(graftlet.__file__).resolve()
    # A developer may test an editable install; tox, and so CI, must not.
    if "TOX_ENV_NAME" in os.environ:
        assert Path(sys.prefix).resolve() in package.parents
    assert ROOT / "src" not in map(Path, sys.path) or "TOX_ENV_NAME" not in os.environ


def test_the_package_is_marked_as_typed() -> None:
    assert (Path(graftlet.__file__).parent / "py.typed").is_file()


def test_the_version_has_one_source() -> None:
    assert metadata.version("graftlet") == graftlet.__version__


def test_greenlet_is_the_only_dependency() -> None:
    requires = metadata.requires("graftlet") or []
    assert [re.split(r"[^\w-]", line)[0] for line in requires] == ["greenlet"]


def test_the_command_is_installed() -> None:
    (command,) = metadata.entry_points(group="console_scripts", name="graftlet")
    assert command.value == "graftlet.launch:main"
    assert callable(command.load())


def test_the_supported_versions_are_the_same_everywhere() -> None:
    classifiers = metadata.metadata("graftlet").get_all("Classifier") or []
    prefix = "Programming Language :: Python :: 3."
    assert tuple(c.rpartition(" ")[2] for c in classifiers if c.startswith(prefix)) == PYTHONS
    assert metadata.metadata("graftlet")["Requires-Python"] == f">={PYTHONS[0]}"
    minors = ",".join(version.partition(".")[2] for version in PYTHONS)
    assert f"env_list = py3{{{minors}}}\n" in (ROOT / "tox.ini").read_text(encoding="utf-8")
    assert f"for version in {' '.join(PYTHONS)};" in (ROOT / ".ci/run").read_text(encoding="utf-8")


def test_ci_runs_the_test_command_of_the_readme() -> None:
    commands = re.findall(r"^ {4}(python3 .*)$", README, flags=re.MULTILINE)
    assert len(commands) == 2
    example, suite = commands
    assert example.endswith("graftlet examples/legacy_crawler.py --workers 500")
    assert suite.endswith("tox")
    assert f"\n{suite}\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_tour_in_the_readme_is_true() -> None:
    (tour,) = re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    promised = re.findall(r"^print\(.*\) +# (.*)$", tour, flags=re.MULTILINE)
    done = fresh("-c", tour)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == promised
    assert promised


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_examples_in_the_documentation_are_run(page: Path) -> None:
    # Sphinx runs `{doctest}` blocks; a plain fence with a prompt in it would only look as if it ran.
    fences = re.findall(
        r"^```(.*)\n(?:(?!```).*\n)*?>>>", page.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert set(fences) <= {"{doctest}"}


def test_every_flag_of_patch_all_is_documented() -> None:
    from graftlet.patch._table import GROUPS

    table = re.findall(r"(?m)^\| `(\w+)` \|", (ROOT / "docs" / "running.md").read_text("utf-8"))
    assert sorted(table) == sorted(GROUPS)

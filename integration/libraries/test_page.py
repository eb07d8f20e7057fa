"""The page about libraries says what their tests say."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.version import Version

from integration.libraries.page import HERE, PAGE, TESTED, packages, page, rows, versions


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(HERE, versions()), (
        f"{PAGE} is not current; run: python -m integration.libraries.page"
    )


def test_every_file_of_tests_has_a_row(tmp_path: Path) -> None:
    exempt = {"test_page.py", "test_harness.py", "test_adapters.py", "test_restarts.py"}
    for path in HERE.glob("test_*.py"):
        if path.name not in exempt:
            assert "Library(" in path.read_text(encoding="utf-8"), path.name
    assert len(rows(HERE)) > 20


def test_every_package_has_a_version() -> None:
    assert sorted(versions()) == packages(HERE), (
        f"{TESTED} is not current; run: python -m integration.libraries.page --versions"
    )


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 13),
    reason="the versions are those of Python 3.13: others may have others",
)
def test_no_version_is_claimed_that_is_not_versions() -> None:
    """A newer one may be installed: the report's first lines name it."""
    claimed = versions()
    older = [name for name in claimed if Version(metadata.version(name)) < Version(claimed[name])]
    assert older == []


def test_rows_are_read_from_the_source(tmp_path: Path) -> None:
    source = 'X = Library(name="b", package="p, q", how="h", know="k", server="S")\n'
    (tmp_path / "test_b.py").write_text(source)
    other = source.replace('"b"', '"A"').replace('"S"', '""').replace('"p, q"', '""')
    (tmp_path / "test_a.py").write_text(other)
    assert packages(tmp_path) == ["p", "q"]
    found = page(tmp_path, {"p": "1", "q": "2"})
    assert "| A | the standard library's | h | k |\n| b | 1, 2, against S | h | k |\n" in found

"""The page about libraries says what their tests say."""

from __future__ import annotations

from pathlib import Path

from integration.libraries.page import HERE, PAGE, page, rows


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(HERE), (
        f"{PAGE} is not current; run: python -m integration.libraries.page"
    )


def test_every_file_of_tests_has_a_row(tmp_path: Path) -> None:
    exempt = {"test_page.py", "test_harness.py", "test_adapters.py", "test_restarts.py"}
    for path in HERE.glob("test_*.py"):
        if path.name not in exempt:
            assert "Library(" in path.read_text(encoding="utf-8"), path.name
    assert len(rows(HERE)) > 20


def test_rows_are_read_from_the_source(tmp_path: Path) -> None:
    source = 'X = Library(name="b", tested="1", how="h", know="k", server="S")\n'
    (tmp_path / "test_b.py").write_text(source)
    (tmp_path / "test_a.py").write_text(source.replace('"b"', '"A"').replace('"S"', '""'))
    assert "| A | 1 | h | k |\n| b | 1, against S | h | k |\n" in page(tmp_path)

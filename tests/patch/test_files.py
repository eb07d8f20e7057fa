"""Files behave on graftlet as on real threads."""

from __future__ import annotations

import pytest

from tests.patch.harness.run import Suite

FILES = Suite("files", pollers=True)

GAPS = {
    "several_read_one_file_of_a_socket": (
        "files of sockets that are only read have C's buffer, which takes all greenlets for one thread"
    ),
    "made_before_flushed_while_another_writes": (
        "what was made before patching keeps C's buffer, which takes all greenlets for one thread"
    ),
}


@pytest.mark.parametrize("case", FILES.parameters(GAPS))
def test_files(case: str) -> None:
    FILES.check(case)

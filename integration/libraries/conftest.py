"""The tests of libraries run in a patched process, and each leaves nothing behind.

Rule: patched here, before a library is imported, as the launcher does it. What a test leaves (a descriptor,
a greenlet) is that test's failure.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import graftlet

graftlet.patch_all()

import pytest  # noqa: E402 -- patching comes first

from integration.libraries.harness import living_greenlets, open_descriptors  # noqa: E402


def pytest_collection_finish() -> None:
    """Twenty libraries are loaded: a collection that went through all of them would hold everybody up for long."""
    gc.collect()
    gc.freeze()


#: Seconds that what has been told to end may take for it.
GRACE = 5


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """After each test there are the greenlets and descriptors that there were before."""
    greenlets = living_greenlets()
    descriptors = open_descriptors()
    yield
    until = time.monotonic() + GRACE
    while left := _left(greenlets, descriptors):
        assert time.monotonic() < until, "the test left something behind: " + ", ".join(left)
        time.sleep(0.05)


def _left(greenlets: set[graftlet.Greenlet], descriptors: dict[int, str]) -> list[str]:
    now = open_descriptors()
    return [
        *(f"greenlet {each!r}" for each in living_greenlets() - greenlets),
        *(f"descriptor {number}: {now[number]}" for number in now.keys() - descriptors.keys()),
    ]

"""The tests of libraries run in a patched process, and each leaves nothing behind.

Rule: patched here, before a library is imported, as the launcher does it. What a test leaves (a descriptor,
a greenlet) is that test's failure.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from importlib import metadata

import graftlet

graftlet.patch_all()

import pytest  # noqa: E402 -- patching comes first

from integration.libraries import page, private  # noqa: E402
from integration.libraries.harness import (  # noqa: E402
    PATIENCE,
    living_greenlets,
    open_descriptors,
)

# What a shell runs in the background has SIGINT ignored, and so have its children (POSIX, "Asynchronous Lists");
# the programs here are ended with it. Who has a handler has children with the default.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    """What is tested now and not on the page yet."""
    found = []
    for name, version in page.versions().items():
        with suppress(metadata.PackageNotFoundError):
            if metadata.version(name) != version:
                found.append(f"{name} {metadata.version(name)} (docs/libraries.md: {version})")
    return ["other versions: " + ", ".join(found)] if found else []


def pytest_collection_finish() -> None:
    """Twenty libraries are loaded: a collection that went through all of them would hold everybody up for long."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def own_servers() -> Iterator[None]:
    """The tests' own servers instead of the machine's, if ``GRAFTLET_SERVERS=own`` is in the environment."""
    with private.all_servers() if os.environ.get("GRAFTLET_SERVERS") == "own" else nullcontext():
        yield


@pytest.fixture(autouse=True)
def nothing_left(own_servers: None) -> Iterator[None]:
    """After each test there are the greenlets and descriptors that there were before.

    And the connections, as the servers see them, if nobody else uses those (`own_servers`).
    """
    greenlets = living_greenlets()
    descriptors = open_descriptors()
    connections = private.server_connections()
    yield
    until = time.monotonic() + PATIENCE
    while left := _left(greenlets, descriptors, connections):
        assert time.monotonic() < until, "the test left something behind: " + ", ".join(left)
        time.sleep(0.05)


def _left(
    greenlets: set[graftlet.Greenlet], descriptors: dict[int, str], connections: set[str]
) -> list[str]:
    now = open_descriptors()
    return [
        *(f"greenlet {each!r}" for each in living_greenlets() - greenlets),
        *(f"descriptor {number}: {now[number]}" for number in now.keys() - descriptors.keys()),
        *(f"connection {each}" for each in private.server_connections() - connections),
    ]

"""What the programs of the suite share: arguments, repeats, and the one line they print.

Rule: standard library only, and no word of any runtime. A program that imports this is an ordinary
threaded script; `python programs/echo.py` runs it as it stands, and so does every runtime's
launcher. What it really ran on is not asserted here: `Report.finish` prints plain facts (is
`time.sleep` still CPython's, how many operating system threads do eight threads cost, which
packages are loaded), and the runner judges them.

A measure is a list of values, one for each repeat inside the process, so that the reader can see
the spread. Start-up, imports and the first (warm-up) repeat are never part of one.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import threading
import time
import types
from collections.abc import Callable, Sequence
from typing import Any

PROBES = 8


def arguments(**defaults: float | str) -> argparse.Namespace:
    """Parse `--name value` for each default, converted to the default's type."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help="%(default)s")
    return parser.parse_args()


def repeated(function: Callable[[int], object], operations: int, repeats: int) -> list[float]:
    """Seconds per operation of `function(operations)`, one value a repeat, after a warm-up."""
    function(max(1, operations // 10))
    values = []
    for _ in range(repeats):
        gc.collect()
        begin = time.perf_counter()
        function(operations)
        values.append((time.perf_counter() - begin) / operations)
    return values


def collect() -> None:
    """Collect garbage before a repeat, so that none pays for another's (an action of a barrier)."""
    gc.collect()


def in_threads(targets: Sequence[Callable[[], object]]) -> None:
    """Run each target in a thread of its own and join them all."""
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def resident_bytes() -> int:
    """The resident set of this process (proc(5), statm), in bytes."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def native_threads() -> int:
    """How many threads the operating system sees in this process."""
    return len(os.listdir("/proc/self/task"))


def loaded_packages() -> list[str]:
    """Top-level names of everything loaded that is not part of the standard library."""
    names = {name.partition(".")[0] for name in list(sys.modules)}
    return sorted(names - set(sys.stdlib_module_names) - {"__main__", "__mp_main__"})


def threaded_facts() -> dict[str, Any]:
    """What eight blocked threads are to the operating system, and whose `time.sleep` this is."""
    gate = threading.Event()
    threads = [threading.Thread(target=gate.wait) for _ in range(PROBES)]
    before = native_threads()
    for thread in threads:
        thread.start()
    during = native_threads()
    gate.set()
    for thread in threads:
        thread.join()
    return {
        "kind": "threads",
        "native_threads_for_8": during - before,
        "sleep_is_builtin": isinstance(time.sleep, types.BuiltinFunctionType),
    }


class Report:
    """Collects a program's measures and prints them as one line of JSON."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.measures: dict[str, dict[str, Any]] = {}

    def add(self, name: str, values: Sequence[float], operations: int, unit: str = "s") -> None:
        """Record a measure: its values per operation, one a repeat, in `unit` (s, bytes, ratio)."""
        self.measures[name] = {"unit": unit, "operations": operations, "values": list(values)}

    def time(
        self, name: str, function: Callable[[int], object], operations: int, repeats: int
    ) -> None:
        """Measure `function(operations)` with `repeated` and record it."""
        self.add(name, repeated(function, operations, repeats), operations)

    def finish(self, answer: object, facts: dict[str, Any] | None = None) -> None:
        """Print the line. `answer` is what the program computed, for the runner to verify."""
        evidence = threaded_facts() if facts is None else dict(facts)
        evidence["loaded"] = sorted({*loaded_packages(), *evidence.get("loaded", ())})
        evidence["python"] = platform.python_version()
        line = {
            "program": self.program,
            "measures": self.measures,
            "answer": answer,
            "evidence": evidence,
        }
        print(json.dumps(line), flush=True)

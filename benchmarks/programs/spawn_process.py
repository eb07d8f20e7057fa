"""subprocess from a process that has much memory: run a command that does nothing, and wait for it.

A child made with `fork` copies the page tables of all that memory; with `vfork` or `posix_spawn` it
does not. The memory is a heap of many small objects, as a real program's is.
"""

from __future__ import annotations

import shutil
import subprocess

from _measure import Report, arguments, resident_bytes


def main() -> None:
    given = arguments(megabytes=1024, processes=20, repeats=5)
    true = shutil.which("true") or "/bin/true"
    size = 1000  # not a constant in the loop: the compiler would make one object of them all
    heap = [b"x" * size for _ in range(given.megabytes * 1000)]
    codes: set[int] = set()

    def run(processes: int) -> None:
        for _ in range(processes):
            codes.add(subprocess.run([true], check=False).returncode)

    report = Report("spawn_process")
    report.time("run", run, given.processes, given.repeats)
    big_enough = resident_bytes() > given.megabytes * 1_000_000
    report.finish({"codes": sorted(codes), "heap": len(heap), "big_enough": big_enough})


if __name__ == "__main__":
    main()

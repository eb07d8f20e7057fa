"""Many threads asleep at once: what one costs in processor time and in memory.

Every thread is started, sleeps once in `time.sleep` for long enough that all are asleep together
(which is checked), wakes and is joined. `time` is processor time of the whole process per thread,
because nearly all of the wall-clock time is the sleep itself; `memory` is the growth of the resident
set from before the first to when the last is asleep. (For native threads the kernel's own memory
is not in it.)
"""

from __future__ import annotations

import gc
import sys
import threading
import time

from _measure import Report, arguments, resident_bytes


def start_and_join(threads: int) -> float:
    """Wall-clock seconds per thread that does nothing: how long the sleepers must sleep."""
    begin = time.perf_counter()
    batch = [threading.Thread(target=time.sleep, args=(0,)) for _ in range(threads)]
    for thread in batch:
        thread.start()
    for thread in batch:
        thread.join()
    return (time.perf_counter() - begin) / threads


def main() -> None:
    given = arguments(threads=10_000)
    # The deadlines differ by microseconds, so that they come in no convenient order.
    spread = [(number * 7919) % given.threads * 1e-6 for number in range(given.threads)]
    begun: list[int] = []
    woken: list[int] = []
    gc.collect()
    memory = resident_bytes()
    seconds = 1.0 + 4.0 * given.threads * start_and_join(min(1000, given.threads))

    def sleeper(number: int) -> None:
        begun.append(number)
        time.sleep(seconds + spread[number])
        woken.append(number)

    gc.collect()
    processor = time.process_time()
    threads = [threading.Thread(target=sleeper, args=(number,)) for number in range(given.threads)]
    for thread in threads:
        thread.start()
    while len(begun) < given.threads:
        time.sleep(0.01)
    if woken:
        sys.exit(f"{len(woken)} threads were awake before the last one fell asleep")
    memory = resident_bytes() - memory
    for thread in threads:
        thread.join()
    processor = time.process_time() - processor

    report = Report("sleepers")
    report.add("time", [processor / given.threads], given.threads)
    report.add("memory", [memory / given.threads], given.threads, unit="bytes")
    report.finish({"asleep": len(begun), "woken": len(set(woken))})


if __name__ == "__main__":
    main()

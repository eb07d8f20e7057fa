"""Many greenlets asleep at once, with a runtime's own API: processor time and memory of each.

The same as `sleepers.py` without the threads' own objects.
"""

from __future__ import annotations

import gc
import sys
import time

from _api import Api
from _measure import Report, arguments, resident_bytes


def main() -> None:
    given = arguments(api="gevent", greenlets=100_000)
    api = Api(given.api)
    spawn, joinall, sleep = api.spawn, api.joinall, api.sleep
    spread = [(number * 7919) % given.greenlets * 1e-6 for number in range(given.greenlets)]
    begun: list[int] = []
    woken: list[int] = []
    gc.collect()
    memory = resident_bytes()

    sample = min(1000, given.greenlets)
    begin = time.perf_counter()
    joinall([spawn(sleep, 0) for _ in range(sample)])
    seconds = 1.0 + 4.0 * given.greenlets * (time.perf_counter() - begin) / sample

    def sleeper(number: int) -> None:
        begun.append(number)
        sleep(seconds + spread[number])
        woken.append(number)

    gc.collect()
    processor = time.process_time()
    greenlets = [spawn(sleeper, number) for number in range(given.greenlets)]
    while len(begun) < given.greenlets:
        sleep(0.01)
    if woken:
        sys.exit(f"{len(woken)} greenlets were awake before the last one fell asleep")
    memory = resident_bytes() - memory
    joinall(greenlets)
    processor = time.process_time() - processor

    report = Report("native_sleepers")
    report.add("time", [processor / given.greenlets], given.greenlets)
    report.add("memory", [memory / given.greenlets], given.greenlets, unit="bytes")
    report.finish({"asleep": len(begun), "woken": len(set(woken))}, api.facts())


if __name__ == "__main__":
    main()

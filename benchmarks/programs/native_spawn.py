"""Start, finish and join greenlets that run Python code, with a runtime's own API.

One operation is one greenlet: spawned, run (two Python calls deep), finished and joined. Measured
with all of them alive at once, in batches of 100 as a server would have them, and one by one.
"""

from __future__ import annotations

import gc
import time

from _api import Api
from _measure import Report, arguments


def double(number: int) -> int:
    return number + number


def work(number: int) -> int:
    return double(number) - number


def main() -> None:
    given = arguments(api="gevent", greenlets=100_000, repeats=3)
    api = Api(given.api)
    number_of_greenlets: int = given.greenlets
    spawn, joinall, value = api.spawn, api.joinall, api.value
    answers: list[int] = []

    def batches(size: int) -> float:
        total = 0
        gc.collect()
        begin = time.perf_counter()
        for first in range(0, number_of_greenlets, size):
            greenlets = [spawn(work, number) for number in range(first, first + size)]
            joinall(greenlets)
            total += sum(map(value, greenlets))
        elapsed = time.perf_counter() - begin
        answers.append(total)
        return elapsed / number_of_greenlets

    report = Report("native_spawn")
    joinall([spawn(work, number) for number in range(1000)])
    for name, size in (("at-once", given.greenlets), ("batches-of-100", 100), ("one-by-one", 1)):
        report.add(name, [batches(size) for _ in range(given.repeats)], given.greenlets)
    report.finish({"sums": sorted(set(answers))}, api.facts())


if __name__ == "__main__":
    main()

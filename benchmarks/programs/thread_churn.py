"""Threads started and joined: one by one, and in batches of 100 that are alive together.

One operation is one thread: created, started, run (two Python calls deep), joined.
"""

from __future__ import annotations

import threading

from _measure import Report, arguments


def double(number: int) -> int:
    return number + number


def work(number: int, results: list[int]) -> None:
    results.append(double(number) - number)


def main() -> None:
    given = arguments(threads=2000, repeats=5)
    wrong: list[int] = []

    def in_batches(size: int, threads: int) -> None:
        results: list[int] = []
        for first in range(0, threads, size):
            batch = [
                threading.Thread(target=work, args=(number, results))
                for number in range(first, first + size)
            ]
            for thread in batch:
                thread.start()
            for thread in batch:
                thread.join()
        if sorted(results) != list(range(len(results))) or len(results) < threads:
            wrong.append(len(results))

    def one_by_one(threads: int) -> None:
        in_batches(1, threads)

    def batches_of_100(threads: int) -> None:
        in_batches(100, threads)

    report = Report("thread_churn")
    report.time("one-by-one", one_by_one, given.threads, given.repeats)
    report.time("batches-of-100", batches_of_100, given.threads, given.repeats)
    report.finish({"wrong": len(wrong)})


if __name__ == "__main__":
    main()

"""ThreadPoolExecutor with ten workers: `map` over many small calls, and submit-and-wait one by one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from _measure import Report, arguments


def work(number: int) -> int:
    return number + 1


def main() -> None:
    given = arguments(tasks=5000, workers=10, repeats=5)
    sums: dict[str, int] = {}
    report = Report("executor")
    with ThreadPoolExecutor(max_workers=given.workers) as pool:

        def mapped(tasks: int) -> None:
            sums["map"] = sum(pool.map(work, range(tasks)))

        def round_trips(tasks: int) -> None:
            sums["round-trip"] = sum(pool.submit(work, number).result() for number in range(tasks))

        report.time("map", mapped, given.tasks, given.repeats)
        report.time("round-trip", round_trips, given.tasks, given.repeats)
    report.finish(sums)


if __name__ == "__main__":
    main()

"""`threading.local`: an attribute set, and one read, in a thread that isn't the main one."""

from __future__ import annotations

import threading

from _measure import Report, arguments, in_threads


def main() -> None:
    given = arguments(operations=100_000, repeats=5)
    report = Report("thread_locals")
    storage = threading.local()
    seen: list[int] = []
    answers: dict[str, object] = {}

    def setting(operations: int) -> None:
        for number in range(operations):
            storage.value = number

    def reading(operations: int) -> None:
        total = 0
        storage.value = 1
        for _ in range(operations):
            total += storage.value
        seen.append(total)

    def measure() -> None:
        report.time("set", setting, given.operations, given.repeats)
        report.time("get", reading, given.operations, given.repeats)
        answers["value"] = storage.value

    storage.value = "main's"
    in_threads([measure])
    report.finish({"main": storage.value, "sum": seen[-1], **answers})


if __name__ == "__main__":
    main()

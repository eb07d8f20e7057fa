"""`threading.Timer`: started and cancelled, and fired in numbers.

One operation is one timer. `fire` is processor time, because the wall-clock time is the delay.
"""

from __future__ import annotations

import gc
import threading
import time

from _measure import Report, arguments


def main() -> None:
    given = arguments(timers=1000, repeats=5)
    fired: list[int] = []

    def cancel(timers: int) -> None:
        started = [threading.Timer(60.0, fired.append, (-1,)) for _ in range(timers)]
        for timer in started:
            timer.start()
        for timer in started:
            timer.cancel()
        for timer in started:
            timer.join()

    def fire(timers: int) -> float:
        gc.collect()
        begin = time.process_time()
        started = [
            threading.Timer(0.05 + (number * 7919) % timers * 1e-4, fired.append, (number,))
            for number in range(timers)
        ]
        for timer in started:
            timer.start()
        for timer in started:
            timer.join()
        return (time.process_time() - begin) / timers

    report = Report("timers")
    report.time("cancel", cancel, given.timers, given.repeats)
    fire(max(1, given.timers // 10))
    fired.clear()
    report.add("fire", [fire(given.timers) for _ in range(given.repeats)], given.timers)
    report.finish({"fired": len(fired), "different": len(set(fired))})


if __name__ == "__main__":
    main()

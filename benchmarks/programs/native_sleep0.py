"""`sleep(0)` round the hub, with a runtime's own API: 100 greenlets that yield in turn.

One operation is one `sleep(0)`.
"""

from __future__ import annotations

import gc
import time

from _api import Api
from _measure import Report, arguments


def main() -> None:
    given = arguments(api="gevent", greenlets=100, yields=2000, repeats=5)
    api = Api(given.api)
    number_of_greenlets: int = given.greenlets
    spawn, joinall, sleep = api.spawn, api.joinall, api.sleep
    done: list[int] = []

    def work(yields: int) -> None:
        for _ in range(yields):
            sleep(0)
        done.append(yields)

    def together(yields: int) -> float:
        gc.collect()
        greenlets = [spawn(work, yields) for _ in range(number_of_greenlets)]
        begin = time.perf_counter()
        joinall(greenlets)
        return (time.perf_counter() - begin) / (number_of_greenlets * yields)

    together(max(1, given.yields // 10))
    done.clear()
    report = Report("native_sleep0")
    values = [together(given.yields) for _ in range(given.repeats)]
    report.add("sleep0", values, given.greenlets * given.yields)
    report.finish({"yields": sum(done)}, api.facts())


if __name__ == "__main__":
    main()

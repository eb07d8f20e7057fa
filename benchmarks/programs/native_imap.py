"""`Pool(10).imap` over many small calls, with a runtime's own API. One operation is one item."""

from __future__ import annotations

from _api import Api
from _measure import Report, arguments


def work(number: int) -> int:
    return number + 1


def main() -> None:
    given = arguments(api="gevent", items=10_000, size=10, repeats=5)
    api = Api(given.api)
    pool = api.pool(given.size)
    answers: dict[str, object] = {}

    def imap(items: int) -> None:
        results = list(pool.imap(work, range(items)))
        answers["in_order"] = results == list(range(1, items + 1))
        answers["sum"] = sum(results)

    report = Report("native_imap")
    report.time("imap", imap, given.items, given.repeats)
    report.finish(answers, api.facts())


if __name__ == "__main__":
    main()

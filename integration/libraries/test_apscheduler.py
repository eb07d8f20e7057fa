"""APScheduler: its background scheduler and its pool of threads."""

from __future__ import annotations

import threading
import time
from collections import Counter

from integration.libraries.harness import Library, library, no_stall

LIBRARY = Library(
    name="APScheduler",
    package="APScheduler",
    tested="3.11.3",
    how="threads",
    know="",
    server="",
)

background = library("apscheduler.schedulers.background", "APScheduler")
executors = library("apscheduler.executors.pool", "APScheduler")


def test_jobs_overlap_and_come_on_time() -> None:
    ran: Counter[int] = Counter()
    native = threading.active_count()

    def job(number: int) -> None:
        ran[number] += 1
        time.sleep(0.5)

    scheduler = background.BackgroundScheduler(
        executors={"default": executors.ThreadPoolExecutor(50)}, timezone="UTC"
    )
    for number in range(20):
        scheduler.add_job(job, "interval", seconds=1, args=[number], max_instances=2)
    with no_stall():
        scheduler.start()
        time.sleep(2.6)
        scheduler.shutdown(wait=True)
    assert ran == dict.fromkeys(range(20), 2)
    assert threading.active_count() == native


def test_a_job_once_and_a_job_removed() -> None:
    done = threading.Event()
    scheduler = background.BackgroundScheduler(timezone="UTC")
    scheduler.start()
    scheduler.add_job(done.set)
    never = scheduler.add_job(lambda: 1 / 0, "interval", seconds=1)
    assert done.wait(5)
    never.remove()
    time.sleep(1.2)
    assert scheduler.get_jobs() == []
    scheduler.shutdown()

"""APScheduler: its background scheduler and its pool of threads."""

from __future__ import annotations

import threading
import time
from collections import Counter

from integration.libraries.harness import PATIENCE, Library, eventually, library, overlapping

LIBRARY = Library(
    name="APScheduler",
    package="APScheduler",
    how="threads",
    know="",
    server="",
)

background = library("apscheduler.schedulers.background", "APScheduler")
executors = library("apscheduler.executors.pool", "APScheduler")


def test_jobs_overlap_and_come_on_time() -> None:
    ran: Counter[int] = Counter()
    native = threading.active_count()
    all_at_once = threading.Barrier(20)

    def job(number: int) -> None:
        ran[number] += 1
        if ran[number] == 1:
            all_at_once.wait(PATIENCE)
        time.sleep(0.5)

    scheduler = background.BackgroundScheduler(
        executors={"default": executors.ThreadPoolExecutor(50)}, timezone="UTC"
    )
    for number in range(20):
        scheduler.add_job(job, "interval", seconds=1, args=[number], max_instances=2)
    try:
        # The first second began when the jobs were added.
        with overlapping(2, least=0.9):
            scheduler.start()
            eventually(lambda: sum(ran.values()) >= 40)
    finally:
        scheduler.remove_all_jobs()
        scheduler.shutdown(wait=True)
    assert sorted(ran) == list(range(20))
    assert min(ran.values()) >= 2
    assert not all_at_once.broken
    assert threading.active_count() == native


def test_a_job_once_and_a_job_removed() -> None:
    done = threading.Event()
    scheduler = background.BackgroundScheduler(timezone="UTC")
    scheduler.start()
    scheduler.add_job(done.set)
    never = scheduler.add_job(lambda: 1 / 0, "interval", seconds=1)
    assert done.wait(PATIENCE)
    never.remove()
    time.sleep(1.2)
    assert scheduler.get_jobs() == []
    scheduler.shutdown()

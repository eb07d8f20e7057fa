"""The other end of the workers: hands out files, collects runs.

Rule: one native thread serves one worker, and all of them share nothing but the list of what is to be
done and the queue of what is done. The caller's thread does everything that prints or stores.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from integration.stdlib.conformance.records import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from integration.stdlib.conformance.job import Job


class PoolError(RuntimeError):
    """The run cannot be gone on with; the message says why."""


class Worker:
    """A worker process (see conformance.worker), spoken to by one thread at a time."""

    def __init__(self, script: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(script), "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(
        self, request: dict[str, Any], tell: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the missing answer says it
        for line in self._process.stdout:
            answer: dict[str, Any] = json.loads(line)
            if "tell" not in answer:
                return answer
            if tell is not None:
                tell(answer["tell"])
        raise PoolError(f"a worker ended with status {self._process.wait()}; see its output above")

    def confine(self, wanted: bool) -> str:
        """Shut the worker off from the network; says how, or nothing if it was not wanted."""
        answer = self.ask({"confine": wanted})
        if "refused" in answer:
            raise PoolError(answer["refused"])
        return str(answer["confined"])

    def prove(self, command: list[str]) -> dict[str, list[Any]]:
        """Run prove.py: what was checked -> whether it holds, and what was seen."""
        answer = self.ask({"prove": command})
        if "failed" in answer:
            raise PoolError(answer["failed"])
        proof: dict[str, list[Any]] = answer["proof"]
        return proof

    def run(self, job: Job, tell: Callable[[str], None] | None = None) -> Run:
        """Run one file once."""
        answer = self.ask({"job": asdict(job)}, tell)
        if "unpatched" in answer:
            raise PoolError(f"patching is not active in {job.file}: {answer['unpatched']}")
        return Run.from_json(answer["run"])

    def stop(self) -> None:
        """End the worker and all it started."""
        self._process.terminate()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):  # a request that nobody will read
                stream.close()


class Pool:
    """Some workers, as a context manager."""

    def __init__(self, script: Path, size: int, confined: bool) -> None:
        # From the caller's thread, which must be the main one: a worker gets a signal when the
        # thread that started it ends (prctl(2), PR_SET_PDEATHSIG).
        self.workers = [Worker(script) for _ in range(size)]
        try:
            self.how_confined = ", ".join({each.confine(confined) for each in self.workers})
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.stop()

    def each(
        self,
        files: list[str],
        do: Callable[[Worker, str], Any],
        until: float | None = None,
    ) -> Iterator[tuple[str, Any]]:
        """Do something with each file on some worker; yields file and answer as they come.

        After `until` (on time.monotonic()'s clock) no further file is begun; those are not yielded.
        """
        todo = deque(files)
        done: queue.SimpleQueue[tuple[str, Any] | BaseException | None] = queue.SimpleQueue()

        def serve(worker: Worker) -> None:
            try:
                while until is None or time.monotonic() < until:
                    try:
                        file = todo.popleft()
                    except IndexError:
                        break
                    done.put((file, do(worker, file)))
                done.put(None)
            except BaseException as problem:  # re-raised below, in the caller's thread
                done.put(problem)

        threads = [
            threading.Thread(target=serve, args=(worker,), daemon=True) for worker in self.workers
        ]
        for thread in threads:
            thread.start()
        serving = len(threads)
        while serving:
            item = done.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                serving -= 1
            else:
                yield item

"""A worker: one process that runs files one after the other, cut off from the network.

Rule: a worker has one thread, is the adoptive parent of all that its tests start, and decides nothing.
It reads requests from stdin and writes answers to stdout, a line of JSON each. It ends with its stdin.

    {"confine": true}             -> {"confined": how} or {"refused": why}
    {"prove": [command]}          -> {"proof": {check: [holds, what was seen]}} or {"failed": text}
    {"job": {fields of job.Job}}  -> {"tell": text} ..., then {"run": ...} or {"unpatched": text}
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any, Final

from integration.stdlib.conformance import isolate
from integration.stdlib.conformance.job import Job, Unpatched, run_file
from integration.stdlib.conformance.watch import watch

_PROOF_PATIENCE: Final = 60.0  # seconds for the whole proof
PROOF_MARK: Final = "PROOF "  # starts the line of prove.py that is the answer


def main() -> int:
    """Serve requests until stdin ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of the clean-up in watch()
    isolate.end_with_parent(signal.SIGTERM)
    isolate.adopt_orphans()
    for line in sys.stdin:
        request = json.loads(line)
        if "confine" in request:
            answer(_confine(request["confine"]))
        elif "prove" in request:
            answer(_prove(request["prove"]))
        else:
            answer(_run(Job(**request["job"])))
    return 0


def answer(data: dict[str, Any]) -> None:
    """Write one answer."""
    sys.stdout.write(json.dumps(data) + "\n")
    sys.stdout.flush()


def _confine(wanted: bool) -> dict[str, Any]:
    try:
        return {"confined": isolate.confine_network() if wanted else ""}
    except isolate.Unconfined as refused:
        return {"refused": str(refused)}


def _prove(command: list[str]) -> dict[str, Any]:
    ended = watch(command, lambda event: None, lambda: _PROOF_PATIENCE)
    for line in ended.output.splitlines():
        if line.startswith(PROOF_MARK):
            return {"proof": json.loads(line[len(PROOF_MARK) :])}
    how = "it hung" if ended.hung else ended.how()
    return {"failed": os.linesep.join([f"prove.py gave no answer: {how}", ended.output])}


def _run(job: Job) -> dict[str, Any]:
    try:
        return {"run": run_file(job, lambda text: answer({"tell": text})).to_json()}
    except Unpatched as problem:
        return {"unpatched": str(problem)}

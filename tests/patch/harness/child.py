"""Runs the cases of one module in this interpreter, and prints each outcome as a line of JSON.

    python child.py plain|first|last module [case ...]

Cases that are named are left out.

Rule: in mode ``first`` nothing but graftlet is imported before patching; in mode ``last`` everything is
imported, and what the module prepares exists, before patching.
"""

import sys

#: Seconds that one case may take. Only what hangs does, however busy the machine is.
LONGEST_CASE = 40
#: Seconds that a native thread may take to end once nobody has anything to do for it any more.
LONGEST_END = 5


def patch() -> None:
    import graftlet

    graftlet.patch_all()


def import_all() -> None:
    """What large programs have imported when they come to patch."""
    import asyncio
    import concurrent.futures.thread
    import http.client
    import logging.handlers
    import multiprocessing
    import queue
    import selectors
    import socketserver
    import ssl
    import subprocess
    import urllib.request

    del asyncio, concurrent, http, logging, multiprocessing, queue, selectors, socketserver, ssl
    del subprocess, urllib


def main(mode: str, name: str, *left_out: str) -> None:
    sys.path.pop(0)  # the harness's own directory
    if mode == "first":
        patch()
    else:
        import_all()
    module = __import__(name, fromlist=["*"])
    if hasattr(module, "prepare"):
        module.prepare()
    if mode == "last":
        patch()

    from faulthandler import cancel_dump_traceback_later, dump_traceback_later

    from tests.patch.harness import tools

    if mode != "plain":
        from graftlet.core._current import get_hub

        get_hub()  # its descriptors are nobody's leak
    from os import listdir

    prepared = set(map(int, listdir("/proc/self/fd")))
    for case, function in tools.cases_of(module).items():
        if case in left_out:
            continue
        print(case, file=sys.stderr, flush=True)
        dump_traceback_later(LONGEST_CASE, exit=True)
        report(case, function, mode, prepared)
        cancel_dump_traceback_later()
    if hasattr(module, "finish"):
        module.finish()


def report(case, function, mode, prepared):  # type: ignore[no-untyped-def] # typing is not imported yet
    import gc
    import json
    import os
    import threading
    import traceback

    from tests.patch.harness import tools

    before = os.listdir("/proc/self/fd")
    trace = ""
    try:
        outcome = repr(function())
    except BaseException as error:
        outcome = f"raised {tools.describe(error)}"
        trace = traceback.format_exc()
        del error
    left = [
        thread.name
        for thread in threading.enumerate()
        # Up to 3.12 the stand-in of a bare thread stays until another thread gets the same ident.
        if thread is not threading.main_thread()
        and not (sys.version_info < (3, 13) and type(thread) is threading._DummyThread)
    ]
    if left:
        outcome += f", and left threads: {left}"
    after = os.listdir("/proc/self/fd")
    if len(after) != len(before):
        gc.collect()
        after = os.listdir("/proc/self/fd")
    if len(after) != len(before):
        outcome += ", and left descriptors: " + ", ".join(sorted(set(after) - set(before)))
    if mode != "plain":
        outcome += left_in_hub(prepared)
    json.dump([case, outcome, trace], sys.stdout)
    sys.stdout.write("\n")
    sys.stdout.flush()


known_left: "list[str]" = []


def left_in_hub(prepared):  # type: ignore[no-untyped-def] # as above
    import gc

    from graftlet.core import _original
    from graftlet.core._current import get_hub
    from graftlet.core._own_threads import own_threads
    from graftlet.testing import assert_hub_empty

    # One that has done its work may take a while to end.
    until = _original.monotonic() + LONGEST_END
    while len(native := set(sys._current_frames()) - own_threads) > 1:
        if _original.monotonic() > until:
            break
        _original.sleep(0.001)
    found = f", and left {len(native) - 1} native threads" if len(native) > 1 else ""
    hub = get_hub()
    for _ in range(2):
        kept = {fd: hub.watches.pop(fd) for fd in prepared if fd in hub.watches}
        try:
            assert_hub_empty()
        except AssertionError as error:
            # What an earlier case has left is that one's fault.
            new = [line for line in str(error).splitlines()[1:] if line not in known_left]
            left = f", and left {new}" if new else ""
            gc.collect()
        else:
            new = []
            left = ""
        finally:
            hub.watches.update(kept)
    known_left.extend(new)
    return found + left


if __name__ == "__main__":
    main(*sys.argv[1:])

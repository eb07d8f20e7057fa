"""Import a runtime and patch the standard library with it, in fresh interpreters.

`bare`: nothing else is loaded before. `loaded`: a program's usual modules are, which is where a
runtime that patches in place has to look at all of them. `thousand`: so many modules, most of them
the standard library's over again under other names. One operation is one import and patch.
"""

from __future__ import annotations

import json
import subprocess
import sys

from _measure import Report, arguments

USUAL = (
    "argparse, asyncio, concurrent.futures, csv, ctypes, datetime, decimal, email.message, hashlib,"
    " http.client, http.server, json, logging.handlers, multiprocessing, pathlib, queue, random, re,"
    " select, selectors, smtplib, socket, socketserver, sqlite3, ssl, subprocess, tempfile,"
    " threading, unittest, urllib.request, uuid, xml.etree.ElementTree, zipfile"
)
THOUSAND = f"""
import importlib.util, pathlib, sys, sysconfig
import {USUAL}
names = [name for name in sys.modules if name.partition(".")[0] not in ("__main__", "threading")]
files = [getattr(sys.modules[name], "__spec__", None) for name in names]
files = [each for each in files if each and each.has_location and each.origin.endswith(".py")]
copies = 0
while len(sys.modules) < 1000:
    for spec in files[: 1000 - len(sys.modules)]:
        copies += 1
        name = f"{{spec.name}}_{{copies}}"  # in the same package
        again = importlib.util.spec_from_file_location(name, spec.origin)
        module = importlib.util.module_from_spec(again)
        sys.modules[name] = module
        again.loader.exec_module(module)
"""
PATCH = {
    "graftlet": "import graftlet; graftlet.patch_all()",
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
CHILD = """\
{before}
from time import perf_counter
begin = perf_counter()
{patch}
elapsed = perf_counter() - begin
import json, sys, time, types
green = not isinstance(time.sleep, types.BuiltinFunctionType)
print(json.dumps([elapsed, green, sorted({{name.partition(".")[0] for name in list(sys.modules)}})]))
"""


def child(api: str, before: str) -> tuple[float, bool, list[str]]:
    """Seconds it took, whether `time.sleep` is another function now, and what is loaded."""
    code = CHILD.format(before=before, patch=PATCH[api])
    command = [sys.executable, "-W", "ignore", "-c", code]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    elapsed, green, loaded = json.loads(output.splitlines()[-1])
    return elapsed, green, loaded


def main() -> None:
    given = arguments(api="gevent", repeats=5)
    report = Report("native_import")
    patched = True
    names: set[str] = set()
    for name, before in (("bare", ""), ("loaded", f"import {USUAL}"), ("thousand", THOUSAND)):
        child(given.api, before)  # warm-up: the file system's cache, the compiled modules
        runs = [child(given.api, before) for _ in range(given.repeats)]
        report.add(name, [elapsed for elapsed, _, _ in runs], 1)
        patched = patched and all(green for _, green, _ in runs)
        names.update(*(loaded for _, _, loaded in runs))
    own = sorted(names & set(PATCH))
    facts = {"kind": "import", "api": given.api if given.api in own else "none", "loaded": own}
    report.finish({"patched": patched}, facts)


if __name__ == "__main__":
    main()

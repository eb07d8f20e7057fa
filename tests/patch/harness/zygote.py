"""Runs whole scripts, each in a fork of this interpreter, and prints how each ended, as JSON.

    python zygote.py plain|first|last < scripts.json

Rule: the child goes on to the natural end of an interpreter; it leaves this file as a script leaves its
last line.
"""

import sys

sys.path.pop(0)  # the harness's own directory
mode = sys.argv[1]
if mode == "first":
    import graftlet

    graftlet.patch_all()

import json
import os
import signal
import tempfile
import warnings

#: Seconds.
LONGEST_SCRIPT = 40

scripts = json.load(sys.stdin)
outcomes = {}
child = -1
for name, source in scripts.items():
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            break
        signal.alarm(LONGEST_SCRIPT)
        before = signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
        _, status = os.waitpid(child, 0)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
        outcomes[name] = [os.waitstatus_to_exitcode(status), *texts]

if child == 0:
    del out, err
    exec(compile(source, "<script>", "exec"), globals())
else:
    json.dump(outcomes, sys.stdout)

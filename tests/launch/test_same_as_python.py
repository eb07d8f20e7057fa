"""A program can't tell the launcher from ``python``, and neither can who started it.

Each case is a small program that is run both ways; see ``harness``. The cases name what used to go
wrong, or easily could, in launchers: most are about things that happen before the first line of the
program and after its last.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.launch.harness import Outcome, both, write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# ---- What the program sees ---------------------------------------------------------------------

# Everything about itself and the interpreter that a program may look at when it begins.
LOOK = """\
import sys
def show(value):
    return repr(value)[:200]
print(__name__, sys.modules["__main__"].__dict__ is globals(), type(sys.modules["__main__"]))
for name, value in list(globals().items()):
    print("   ", name, show(value))
print(sys.argv, sys.path, sys.flags, sys.warnoptions, sys._xoptions, sys.executable)
if sys.argv[0] != "-c":  # there it depends on whether linecache has been imported
    print({name: value for name, value in sys.path_importer_cache.items() if "/here" in name})
print(sys.excepthook is sys.__excepthook__, hasattr(sys, "last_value"), sys.getrecursionlimit())
print(type(__builtins__), sys.stdin.encoding, sys.stdout.line_buffering)
def undefined_is_found_at_once(argument: int): pass
print(type(undefined_is_found_at_once.__annotations__["argument"]))
"""


@dataclass(frozen=True)
class Case:
    """One program and how it is called."""

    name: str
    arguments: Sequence[str]
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    options: Sequence[str] = ()
    text: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    merged: bool = False
    status: int | None = 0
    """What plain Python gives; None if the case is not about it."""


def code(name: str, text: str, status: int | None = 0, *, merged: bool = False) -> Case:
    """A case that is a script without arguments."""
    return Case(name, ["program.py"], {"program.py": text}, status=status, merged=merged)


def zipped(files: Mapping[str, str], *, before: bytes = b"") -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return before + target.getvalue()


PACKAGE = {"package/__init__.py": "", "package/__main__.py": LOOK, "package/module.py": LOOK}

SURROUNDINGS = [
    Case("a script", ["program.py", "-m", "--help", "--", "x y", ""], {"program.py": LOOK}),
    Case("a script in a directory", ["a/program.py"], {"a/program.py": LOOK}),
    Case("a script above", ["../here/program.py"], {"program.py": LOOK}),
    Case("a script without an ending", ["program"], {"program": LOOK}),
    Case("a script after two dashes", ["--", "-program.py", "-c"], {"-program.py": LOOK}),
    Case("a directory", ["a", "x"], {"a/__main__.py": LOOK}),
    Case("the directory itself", ["."], {"__main__.py": LOOK}),
    Case("an archive", ["a.zip", "x"], {"a.zip": zipped({"__main__.py": LOOK})}),
    Case("an archive with a first line", ["a"],
         {"a": zipped({"__main__.py": LOOK}, before=b"#!/usr/bin/env python3\n")}),
    Case("a module", ["-m", "program", "-m", "x"], {"program.py": LOOK}),
    Case("a module glued to its option", ["-mprogram", "x"], {"program.py": LOOK}),
    Case("a module in a package", ["-m", "package.module"], PACKAGE),
    Case("a package", ["-m", "package", "--help"], PACKAGE),
    Case("code", ["-c", LOOK, "-c", "x"]),
    Case("code, indented", ["-c", "\n    if 1:\n        print(1)\n\n    print(2)\n"], status=None),
    Case("code, not to be dedented", ["-c", "if 1:\n    print('''\n  a''')"]),
    Case("standard input", ["-", "x"], text=LOOK),
    Case("standard input is used up", ["-"], text="import sys\nprint([sys.stdin.read()])\n"),
    Case("nothing on standard input", ["-"]),
    Case("optimized", ["program.py"], {"program.py": LOOK + "assert False\n"}, ["-O"]),
    Case("development mode", ["program.py"], {"program.py": LOOK}, ["-X", "dev"]),
    Case("isolated", ["program.py"], {"program.py": LOOK}, ["-I"]),
    Case("safe path", ["program.py"], {"program.py": LOOK},
         environment={"PYTHONSAFEPATH": "1"}),
]  # fmt: skip

# ---- What the program does with its own module -------------------------------------------------

OWN_MODULE = [
    code("pickles its own classes", """\
import pickle
class Thing:
    def __init__(self): self.x = [1]
    def __reduce__(self): return Thing, ()
print(pickle.loads(pickle.dumps(Thing())).x, pickle.loads(pickle.dumps(Thing)) is Thing)
"""),
    Case("is imported by its helper", ["program.py"], {
        "program.py": "answer = 42\nimport helper\nhelper.show()\n",
        "helper.py": "import __main__\ndef show(): print(__main__.answer, __main__.__file__)\n",
    }),
    Case("relative imports", ["-m", "package"], {
        "package/__init__.py": "print(__name__)", "package/a.py": "print(__name__, __package__)",
        "package/__main__.py": "from . import a\nfrom .a import nothing\n"}, status=1),
    code("reads its own source", """\
import inspect, linecache
def function():
    return 1
print(inspect.getsource(function), inspect.getsourcefile(function), linecache.getline(__file__, 2))
print(inspect.getmodule(function), inspect.getsource(inspect.getmodule(function))[:20])
"""),
    code("doctest", """\
'''
>>> 1 + 1
3
'''
import doctest, sys
sys.exit(doctest.testmod().failed)
""", 1),
    code("unittest", """\
import unittest
class Test(unittest.TestCase):
    def test_it(self): self.assertEqual(1, 2)
import sys; sys.stderr = sys.stdout
unittest.main(testRunner=unittest.TextTestRunner(stream=open(__import__('os').devnull, 'w')))
""", 1),
    Case("argparse, a script", ["program.py", "--nonsense"],
         {"program.py": "import argparse\nargparse.ArgumentParser().parse_args()\n"}, status=2),
    Case("argparse, a module", ["-m", "package.module", "-h"],
         {"package/module.py": "import argparse\nargparse.ArgumentParser().parse_args()\n"}),
    code("dataclasses and type hints", """\
from __future__ import annotations
import dataclasses, typing
@dataclasses.dataclass
class Thing:
    x: typing.ClassVar[int]
    y: Thing | None = None
print(Thing(), typing.get_type_hints(Thing))
"""),
    code("annotations of the module", """\
x: int = 1
print(__annotations__ if "__annotations__" in dir() else None)
import sys
print(sys.modules["__main__"].__annotations__)
"""),
    code("no future of the launcher's", """\
try:
    def f(x: undefined): pass
    print(f.__annotations__)
except NameError as error:
    print(error)
"""),
    code("the launcher's path is gone", """\
import sys
print([name for name in vars(sys.modules["__main__"])], len(sys.path))
try:
    import launch
except ImportError as error:
    print(error)
"""),
    code("warnings", """\
import warnings
def old(): warnings.warn("old", DeprecationWarning, stacklevel=2)
old()
warnings.warn("here")
x = "a" is "a"
y = "\\d"
"""),
]  # fmt: skip

# ---- How it ends -------------------------------------------------------------------------------

THROUGH_FUNCTIONS = """\
class Odd(Exception): pass
def inner(x):
    raise Odd("é", x)
def outer():
    try:
        inner(1)
    except Odd as error:
        {}
outer()
"""

# Not closed, or the descriptor would be given to the next file that is opened.
NOT_WRITABLE = "import os\nprint(1)\nos.dup2(os.open(os.devnull, os.O_RDONLY), 1)\n"

ENDS = [
    *(
        code(f"exit with {value}", f"import sys\nprint(1)\nsys.exit({value})\n", status)
        for value, status in [
            ("", 0), ("3", 3), ("-1", 255), ("256", 0), ("True", 1), ("'text é'", 1), ("3.5", 1)
        ]
    ),
    code("exit()", "def f():\n    exit(4)\nf()\n", 4),
    code("a traceback", THROUGH_FUNCTIONS.format("raise"), 1),
    code("a traceback with context", THROUGH_FUNCTIONS.format("1 / 0"), 1),
    code("a traceback with cause",
         THROUGH_FUNCTIONS.format("raise ValueError('x') from error"), 1),
    code("the same error twice",
         "e = KeyError(1)\ntry:\n    raise e\nexcept KeyError:\n    raise e\n", 1),
    code("an error with the traceback of another",
         "try:\n    1/0\nexcept ZeroDivisionError as e:\n"
         "    raise OSError(2, 'no').with_traceback(e.__traceback__)\n", 1),
    code("an error raised in C", "sorted([1, 'x'])\n", 1),
    code("an error that has a bad __str__",
         "class E(Exception):\n    def __str__(self): 1/0\nraise E\n", 1),
    code("recursion", "def f(): f()\ntry:\n    f()\nexcept RecursionError as e:\n    print(e)\n"),
    Case("an error in code", ["-c", "def f():\n    1/0\nf()"], status=1),
    Case("an error on standard input", ["-"], text="def f():\n    1/0\nf()\n", status=1),
    Case("an error in a module", ["-m", "program"], {"program.py": "1/0\n"}, status=1),
    Case("an error in an imported module", ["program.py"],
         {"program.py": "import helper\n", "helper.py": "def f(): import other\nf()\n",
          "other.py": "x = (\n"}, status=1),
    Case("an error in the package of a module", ["-m", "package.module"],
         {"package/__init__.py": "import nothing_of_that_name\n", "package/module.py": ""},
         status=1),
    Case("what was printed comes first: a file", ["program.py"],
         {"program.py": "print(1)\n1/0\n"}, merged=True, status=1),
    Case("what was printed comes last: a module", ["-m", "program"],
         {"program.py": "print(1)\n1/0\n"}, merged=True, status=1),
    code("what was printed, and exit", "import sys\nprint(1)\nsys.exit('x')\n", 1, merged=True),
    code("KeyboardInterrupt", "def f(): raise KeyboardInterrupt\nf()\n", -2),
    Case("KeyboardInterrupt in a module", ["-m", "program"],
         {"program.py": "raise KeyboardInterrupt\n"}, status=-2),
    code("SIGINT",
         "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile True: pass\n", -2),
    code("SIGINT while it waits", """\
import os, signal, threading, time
def switches():
    with open(f"/proc/self/task/{os.getpid()}/status") as file:
        return [line for line in file if line.startswith(("State:\\tS", "voluntary"))]
def interrupt():
    ready.wait()
    before = None
    # Until main, if it is another native thread, waits: it has not run between two looks.
    while not os.readlink("/proc/thread-self").endswith(f"/task/{os.getpid()}"):
        now = switches()
        if len(now) == 2 and now == before:
            break
        before = now
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)
ready = threading.Event()
threading.Thread(target=interrupt).start()
lock = threading.Lock()
lock.acquire()
try:
    ready.set()
    lock.acquire(timeout=60)
finally:
    print("left")
""", -2, merged=True),
    code("SIGINT ignored",
         "import os, signal\nsignal.signal(2, signal.SIG_IGN)\n"
         "os.kill(os.getpid(), 2)\nprint(1)\n"),
    code("SIGTERM with a handler",
         "import os, signal, sys\nsignal.signal(15, lambda *a: sys.exit(7))\n"
         "os.kill(os.getpid(), 15)\nwhile True: pass\n", 7),
    code("standard output is not writable", NOT_WRITABLE, 120),
    code("standard output is not writable, and an error", NOT_WRITABLE + "1/0\n", 120),
    code("standard output is full",
         "import sys\nsys.stdout = open('/dev/full', 'w')\nprint(1)\n", 120),
    code("standard error is gone", "import sys\nsys.stderr = None\n1/0\n", 1),
    code("standard output is odd", "import sys\nsys.stdout = 3\n1/0\n", 120),
    code("atexit", """\
import atexit, sys, threading
def late(*args): print("late", args, sys.modules["__main__"].__dict__.get("__file__", "no file"))
atexit.register(late, 1)
atexit.register(late, 2)
def work():
    threading.main_thread().join()
    print("thread done", threading.main_thread().is_alive())
threading.Thread(target=work).start()
print("main done")
""", merged=True),
    code("atexit after an error", """\
import atexit, sys, traceback
def late():
    print(sys.last_type, sys.last_value, "__file__" in globals())
    print(sys.excepthook is sys.__excepthook__)
    print(sys.last_value.__traceback__ is sys.last_traceback)
    print(traceback.format_tb(sys.last_traceback))
atexit.register(late)
def f(): raise KeyError(1)
f()
""", 1, merged=True),
    code("atexit after an exit", """\
import atexit, sys
def late():
    print(hasattr(sys, "last_value"), "__file__" in globals())
    print(sys.excepthook is sys.__excepthook__)
atexit.register(late)
sys.exit(3)
""", 3, merged=True),
    code("atexit raises", "import atexit\natexit.register(lambda: 1/0)\nprint(1)\n", None),
    code("a thread raises", """\
import threading
def work(): raise KeyError(1)
t = threading.Thread(target=work, name="worker")
t.start(); t.join()
print(2)
"""),
    code("a daemon thread does not hold it up", """\
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
print(1)
"""),
    code("finalizers at the end", """\
class Last:
    def __init__(self, name): self.name = name
    def __del__(self): print("gone", self.name, type(print))
a, _b, c = Last("a"), Last("b"), Last("c")
c.me = c
import sys
sys.last = Last("sys")
"""),
    code("finalizers after an error", """\
class Last:
    def __del__(self): print("gone")
def f():
    local = Last()
    1/0
f()
""", 1),
    code("an unraisable error", "class A:\n    def __del__(self): 1/0\nA()\nprint(1)\n"),
]  # fmt: skip

HOOK = """\
import sys
def hook(kind, value, traceback):
    names = []
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    print(kind, value, names, sys.excepthook is hook, sys.last_value is value)
    print("__file__" in globals())
    {}
sys.excepthook = hook
def f(): {}
f()
"""

HOOKS = [
    code("a hook", HOOK.format("pass", "1/0"), 1),
    code("a hook and an interrupt", HOOK.format("pass", "raise KeyboardInterrupt"), -2),
    code("a hook that exits", HOOK.format("sys.exit(5)", "1/0"), 5),
    code("a hook that raises", HOOK.format("[].x", "1/0"), 1),
    code("a hook that chains", HOOK.format("sys.__excepthook__(kind, value, traceback)", "1/0"), 1),
    code("a hook that is none", "import sys\nsys.excepthook = None\n1/0\n", 1),
    Case("a hook from sitecustomize", ["program.py"],
         {"program.py": "x = (\n", "site/sitecustomize.py":
          "import sys\nsys.excepthook = lambda *a: print('hook', a)\n"},
         environment={"PYTHONPATH": "site"}, status=1),
]  # fmt: skip

# ---- What can't be run -------------------------------------------------------------------------

BROKEN = {
    "an open bracket": "x = (\n",
    "a line that is not reached": "print(1)\nif True\n    pass\n",
    "an unindent that matches nothing": "if 1:\n    x\n  y\n",
    "return outside": "return 1\n",
    "no line end": "x = = 1",
    "python 2": "print 'hello'\n",
    "an f-string": "f'{a b}'\n",
    "a future that is none": "from __future__ import braces\n",
    "letters that are none": "x = “1”\n",
}


def broken() -> list[Case]:
    cases = [code(f"a script with {name}", text, 1) for name, text in BROKEN.items()]
    some = ["no line end", "return outside"]
    cases += [Case(f"code with {name}", ["-c", BROKEN[name]], status=1) for name in some]
    cases += [
        Case(f"standard input with {name}", ["-"], text=BROKEN[name], status=1) for name in some
    ]
    cases += [
        Case(f"a module with {name}", ["-m", "program"], {"program.py": BROKEN[name]}, status=1)
        for name in some
    ]
    return cases


MISSING = [
    Case("no such file", ["nothing.py", "x"], status=2),
    Case("a file that is no directory", ["a/b.py"], {"a": ""}, status=2),
    Case("a link to nothing", ["nowhere"], status=2),
    Case("a link in a circle", ["circle"], status=2),
    Case("a directory without __main__", ["a"], {"a/x.py": ""}, status=1),
    Case("an archive without __main__", ["a.zip"], {"a.zip": zipped({"x.py": ""})}, status=1),
    Case("an empty name", [""], status=1),
    Case("no such module", ["-m", "nothing_of_that_name"], status=1),
    Case("no such module in a package", ["-m", "package.nothing"], PACKAGE, status=1),
    Case("a package without __main__", ["-m", "package"], {"package/__init__.py": ""}, status=1),
    Case("a relative module", ["-m", ".x"], status=1),
    Case("no module name", ["-m", ""], status=1),
]  # fmt: skip

# ---- The bytes of a file -----------------------------------------------------------------------

BYTES = [
    Case("latin-1", ["p"], {"p": "# coding: latin-1\nprint(ascii('é'))\n".encode("latin-1")}),
    Case("latin-1 and an error", ["p"],
         {"p": "# coding: latin-1\nx = 'é' + 1\n".encode("latin-1")}, status=1),
    Case("a byte order mark", ["p"], {"p": b"\xef\xbb\xbfprint('\xc3\xa9' == chr(233))\n"}),
    Case("carriage returns", ["p"], {"p": b"x = '''a\r\nb'''\r\nprint([x])\r\n1/0\r\n"}, status=1),
    Case("two characters and a carriage return", ["p"], {"p": b"1;\r\nprint(1)\r\n"}),
    Case("no line end", ["p"], {"p": b"print(1)"}),
    Case("a form feed", ["p"], {"p": b"\x0cprint(1)\n\x0c\nprint(2)\n"}),
]  # fmt: skip

# ---- The interpreter goes on -------------------------------------------------------------------

INTERACTIVE = [
    Case("-i after an error", ["program.py"], {"program.py": "def f(): 1/0\nf()\n"}, ["-i"],
         text="import sys\nprint(f, sys.last_traceback.tb_frame.f_code)\n"),
    Case("-i after exit", ["-c", "import sys; sys.exit(3)"], {}, ["-i"],
         text="import sys\nprint(sys.last_value)\n"),
    Case("-i after a syntax error", ["program.py"], {"program.py": "x = (\n"}, ["-i"],
         text="print(__name__, '__file__' in dir())\n"),
]  # fmt: skip

CASES = [
    *SURROUNDINGS, *OWN_MODULE, *ENDS, *HOOKS, *broken(), *MISSING, *BYTES, *INTERACTIVE
]  # fmt: skip


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """An empty directory with a known name, and a second one beside it."""
    directory = tmp_path / "here"
    directory.mkdir()
    return directory


def same(plain: Outcome, launched: Outcome) -> None:
    assert launched.err == plain.err
    assert launched.out == plain.out
    assert launched.status == plain.status


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_same(case: Case, here: Path) -> None:
    write(here, case.files)
    if case.name.startswith("a link"):
        (here / "nowhere").symlink_to("nothing")
        (here / "circle").symlink_to("circle")
    plain, launched = both(
        case.arguments,
        here,
        options=case.options,
        text=case.text,
        environment=case.environment,
        merged=case.merged,
    )
    same(plain, launched)
    # The case does what it says: plain Python at least must be as described.
    assert case.status in (None, plain.status)


def test_names_of_cases_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)

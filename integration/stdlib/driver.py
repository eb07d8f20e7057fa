"""Runs the tests of one module of the interpreter's `test` package, one after the other.

Rule: this file runs *inside* the process that is judged, under plain Python or under a launcher, so
it does as little as possible there. It sets up what `test.libregrtest` sets up, loads the module by
name, runs its suite with the real unittest machinery and writes one line of JSON for whatever begins
or ends. The parent (`conformance.watch`) reads those lines, keeps the time, and cleans up.

Events go to a file that is opened anew for each line: tests close descriptors they do not own, count
the ones that are open, and lower limits. No descriptor is held between two events.

Usage: driver.py SPEC, where SPEC is a JSON file (see `conformance.watch.Spec`).
"""

# ruff: noqa: N802  # the method names are unittest's

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import os
import random
import signal
import sys
import time
import traceback
import unittest
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator

DETAIL_LIMIT = 8000  # characters of a traceback that are kept
ESCAPED = 70  # exit status of a forked child that came back into the test runner
UNPATCHED = 71  # exit status when patching was asked for and is not active

# Captured before any test replaces them by mocks.
_open, _write, _close, _exit, _getpid = os.open, os.write, os.close, os._exit, os.getpid
_now = time.perf_counter


class Events:
    """Appends lines to the event file; knows the process it belongs to."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.pid = _getpid()

    def emit(self, **event: object) -> None:
        descriptor = _open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            _write(descriptor, json.dumps(event).encode() + b"\n")
        finally:
            _close(descriptor)

    def stay_in_own_process(self, key: str | None) -> None:
        """End a forked child whose exception carried it out of its test and into this runner.

        Under plain Python such a child would run the rest of the suite a second time.
        """
        if _getpid() != self.pid:
            self.emit(escaped=key)
            _exit(ESCAPED)


class StreamingResult(unittest.TestResult):
    """Turns what unittest reports into one outcome a test, written when the test ends."""

    def __init__(self, events: Events) -> None:
        super().__init__()
        self.events = events
        self.keys: dict[int, str] = {}  # id(test) -> the key under which the test is reported
        self._key: str | None = None
        self._begun = 0.0
        self._outcomes: list[str] = []
        self._details: list[str] = []

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._key = self.keys.get(id(test)) or test.id()
        self._outcomes, self._details = [], []
        self.events.emit(start=self._key)
        self._begun = _now()

    def stopTest(self, test: unittest.TestCase) -> None:
        seconds = _now() - self._begun
        self.events.stay_in_own_process(self._key)
        super().stopTest(test)
        if sys.exc_info()[0] is not None:
            return  # KeyboardInterrupt on its way out; main() reports it, and this test is charged
        outcome = next((each for each in _WORST_FIRST if each in self._outcomes), "error")
        detail = "\n".join(self._details) if self._outcomes else "unittest reported no outcome"
        self.events.emit(
            done=self._key, outcome=outcome, seconds=round(seconds, 4), detail=_shorten(detail)
        )
        self._key = None

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._note(test, "ok", "")

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._note(test, "fail", _format(err))

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._note(test, "error", _format(err))

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._note(test, "skip", reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._note(test, "xfail", "")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self._note(test, "fail", "unexpected success")

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            failed = issubclass(err[0], test.failureException)
            self._note(test, "fail" if failed else "error", f"{subtest}\n{_format(err)}")

    def _note(self, test: unittest.TestCase, outcome: str, detail: str) -> None:
        self.events.stay_in_own_process(self._key)
        if self._key is None:
            # Between tests only setUpClass, tearDownClass and their kin can fail. unittest hands
            # over a stand-in whose id() is "setUpClass (package.module.Class)".
            self.events.emit(fixture_ended=test.id(), outcome=outcome, detail=_shorten(detail))
        else:
            self._outcomes.append(outcome)
            if detail:
                self._details.append(detail)


_WORST_FIRST = ("error", "fail", "xfail", "skip", "ok")


class AnnouncingSuite(unittest.TestSuite):
    """A suite that says which fixture it is in, so that a hang there has a name.

    It overrides private methods of unittest.TestSuite, unchanged from 3.2 to 3.15; unittest has no
    public hook around class and module fixtures.
    """

    def __init__(self, tests: list[unittest.TestCase], events: Events) -> None:
        super().__init__(tests)
        self._events = events
        self._inside: str | None = None  # unittest nests: tearDownModule runs in the next set-up

    def _announce(self, name: str, cls: type | None, do: Any, *args: object) -> None:
        if cls is None:
            do(*args)
            return
        outer = self._inside
        where = cls.__module__ if "Module" in name else _class_name(cls)
        self._inside = f"{name} ({where})"
        self._events.emit(fixture=self._inside)
        do(*args)
        self._inside = outer
        self._events.emit(fixture=outer)

    def _tearDownPreviousClass(self, test: Any, result: Any) -> None:
        previous = getattr(result, "_previousTestClass", None)
        do = super()._tearDownPreviousClass  # type: ignore[misc]  # private, see the class
        self._announce("tearDownClass", _if_other(previous, test), do, test, result)

    def _handleModuleFixture(self, test: Any, result: Any) -> None:
        previous = getattr(result, "_previousTestClass", None)
        do = super()._handleModuleFixture  # type: ignore[misc]  # private, see the class
        same = previous is not None and previous.__module__ == type(test).__module__
        self._announce("setUpModule", None if same else type(test), do, test, result)

    def _handleClassSetUp(self, test: Any, result: Any) -> None:
        previous = getattr(result, "_previousTestClass", None)
        do = super()._handleClassSetUp  # type: ignore[misc]  # private, see the class
        cls = None if previous is type(test) else type(test)
        self._announce("setUpClass", cls, do, test, result)

    def _handleModuleTearDown(self, result: Any) -> None:
        previous = getattr(result, "_previousTestClass", None)
        do = super()._handleModuleTearDown  # type: ignore[misc]  # private, see the class
        self._announce("tearDownModule", previous, do, result)


def _if_other(previous: type | None, test: object) -> type | None:
    return None if test is not None and previous is type(test) else previous


def _class_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _shorten(text: str) -> str:
    if len(text) <= DETAIL_LIMIT:
        return text
    half = DETAIL_LIMIT // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def _format(err: Any) -> str:
    try:
        return "".join(traceback.format_exception(*err))
    except Exception as problem:  # e.g. a test's mock of open() is still in place
        return f"{err[0].__name__}: (not printable: {problem!r})"


def _each_test(suite: Any) -> Iterator[unittest.TestCase]:
    if isinstance(suite, unittest.BaseTestSuite):
        for test in suite:
            yield from _each_test(test)
    else:
        yield suite


class Runner:
    """Loads one module and runs those of its tests that the spec asks for."""

    def __init__(self, spec: dict[str, Any], events: Events) -> None:
        self.events = events
        self.name: str = spec["module"]
        self.skip = frozenset(spec["skip"])
        self.only: list[str] | None = spec["only"]
        self.result = StreamingResult(events)
        self._seen: dict[str, int] = {}

    def run_module(self) -> None:
        module = importlib.import_module(self.name)
        test_main = getattr(module, "test_main", None)  # gone with 3.11; 3.10 has two such files
        if test_main is not None:
            test_main()
            return
        loader = unittest.TestLoader()
        suite = loader.loadTestsFromModule(module)
        if loader.errors:
            raise ImportError("\n".join(map(str, loader.errors)))
        self.run_suite(suite)

    def run_suite(self, suite: unittest.BaseTestSuite) -> None:
        chosen = []
        plan = []
        for test in _each_test(suite):
            key = self._key(test)
            if self._wanted(key):
                self.result.keys[id(test)] = key
                chosen.append(test)
                plan.append([key, _class_name(type(test)), type(test).__module__])
        self.events.emit(plan=plan)
        self.result.startTestRun()
        AnnouncingSuite(chosen, self.events).run(self.result)
        self.result.stopTestRun()

    def run_unittest(self, *parts: Any) -> None:
        """Stands in for test.support.run_unittest, which test_main() of 3.10 calls."""
        suite = unittest.TestSuite()
        loader = unittest.TestLoader()
        for part in parts:
            if isinstance(part, str):
                suite.addTest(loader.loadTestsFromModule(sys.modules[part]))
            elif isinstance(part, (unittest.TestSuite, unittest.TestCase)):
                suite.addTest(part)
            else:
                suite.addTest(loader.loadTestsFromTestCase(part))
        self.run_suite(suite)

    def run_doctest(self, module: Any, verbosity: object = None, optionflags: int = 0) -> None:
        """Stands in for test.support.run_doctest, which test_main() of 3.10 calls."""
        doctest = importlib.import_module("doctest")
        self.run_suite(doctest.DocTestSuite(module, optionflags=optionflags))

    def _key(self, test: unittest.TestCase) -> str:
        """The test's id; the second test of the same id gets "#2", and so on, in loading order."""
        name = test.id()
        count = self._seen[name] = self._seen.get(name, 0) + 1
        return name if count == 1 else f"{name}#{count}"

    def _wanted(self, key: str) -> bool:
        if key in self.skip:
            return False
        return self.only is None or any(key == o or key.endswith("." + o) for o in self.only)


def write_stacks(path: str) -> None:
    """Append the Python stacks of all threads, and of all greenlets that are switched away."""
    lines = [f"process {_getpid()}"]
    for ident, frame in sys._current_frames().items():
        lines += [f"  thread {ident:#x}, innermost frame first:", *_frames(frame)]
    greenlets = sys.modules.get("greenlet")
    if greenlets is not None:
        for each in gc.get_objects():
            if isinstance(each, greenlets.greenlet) and each.gr_frame is not None:
                lines += [f"  greenlet at {id(each):#x}, parked:", *_frames(each.gr_frame)]
    descriptor = _open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        _write(descriptor, ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
    finally:
        _close(descriptor)


def _frames(frame: types.FrameType | None) -> list[str]:
    found: list[str] = []
    while frame is not None and len(found) < 60:
        code = frame.f_code
        found.append(f"    {code.co_filename}:{frame.f_lineno} in {code.co_name}")
        frame = frame.f_back
    return found


def native_threads() -> int:
    """How many threads the kernel knows in this process."""
    return len(list(Path("/proc/self/task").iterdir()))


def threads_are_greenlets() -> bool:
    threading = importlib.import_module("threading")
    gate = threading.Event()
    before = native_threads()
    thread = threading.Thread(target=gate.wait, args=(10,), daemon=True)
    thread.start()
    time.sleep(0.001)  # let it begin
    during = native_threads()
    gate.set()
    thread.join()
    return during == before


def set_up(spec: dict[str, Any]) -> Any:
    """What test.libregrtest.setup does for a worker process, as far as a test can tell."""
    faulthandler.enable(file=2, all_threads=True)
    # Past any signal the tests use; set through _signal so that a patched signal.signal() does not
    # move the handler to another greenlet, or take it for the program's own.
    raw_signal: Any = importlib.import_module("_signal")
    raw_signal.signal(spec["stacks_signal"], lambda *_: write_stacks(spec["stacks"]))
    if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a real file
    sys.path[:] = [spec["path"]] * bool(spec["path"]) + [
        each for each in sys.path if each != str(Path(__file__).resolve().parent)
    ]
    support: Any = importlib.import_module("test.support")
    support.verbose = False
    support.failfast = False
    support.junit_xml_list = None
    support.use_resources = dict.fromkeys(spec["resources"])
    support.record_original_stdout(sys.stdout)
    sys.addaudithook(lambda *_: None)  # as libregrtest: all code paths that audit get exercised
    # A supported state of script_helper, meant for interpreters that do not start without their
    # environment: children get it, instead of -I or -E, and so PYTHONPATH, by which the children of
    # a patched program are patched as well. The same under plain Python, so that like is compared.
    helper = importlib.import_module("test.support.script_helper")
    vars(helper)["__cached_interp_requires_environment"] = True
    undecodable = importlib.import_module("test.support.os_helper").TESTFN_UNDECODABLE
    if undecodable:  # bpo-44647: there is always a non-ASCII variable in the environment
        os.environb.setdefault(b"PYTHONREGRTEST_UNICODE_GUARD", undecodable)
    random.seed(1)
    return support


def main() -> None:
    spec: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.argv[:] = [str(Path(__file__).resolve())]
    events = Events(spec["events"])
    events.emit(begin=_getpid())
    support = set_up(spec)
    if spec["patched"] and not threads_are_greenlets():
        events.emit(unpatched="threading.Thread started a native thread")
        _exit(UNPATCHED)
    runner = Runner(spec, events)
    if hasattr(support, "run_unittest"):
        support.run_unittest, support.run_doctest = runner.run_unittest, runner.run_doctest
    try:
        runner.run_module()
    except unittest.SkipTest as reason:
        events.stay_in_own_process(None)
        events.emit(module_skipped=str(reason))
    except BaseException as problem:  # KeyboardInterrupt is what unittest lets through
        events.stay_in_own_process(None)
        events.emit(aborted=_shorten(_format((type(problem), problem, problem.__traceback__))))
    events.emit(end=True)


if __name__ == "__main__":
    main()

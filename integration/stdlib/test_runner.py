"""The runner itself: it must name every way to end, leave nothing behind and never forget a test.

Not part of the unit suite (it waits for real hangs): `python -m pytest integration/stdlib`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.stdlib.conformance import expected, recorded, report, verdict
from integration.stdlib.conformance.cli import EXPECTED, RECORDED, REPORT
from integration.stdlib.conformance.job import Job
from integration.stdlib.conformance.pool import Worker
from integration.stdlib.conformance.records import Outcome, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(HERE / "run.py")
    yield worker
    worker.stop()


def run(worker: Worker, file: str, **options: object) -> Run:
    return worker.run(
        Job(
            file=file,
            command=[sys.executable, str(HERE / "driver.py")],
            resources=[],
            package="sample",
            path=str(HERE),
            hang_after=2,
            **options,  # type: ignore[arg-type]  # a Job's fields, by name
        )
    )


def outcomes(run: Run) -> dict[str, str]:
    return {
        key.partition(".")[2].partition(".")[2]: each.outcome for key, each in run.tests.items()
    }


def sample_children() -> list[str]:
    listing = subprocess.run(["/bin/ps", "ax"], stdout=subprocess.PIPE, text=True, check=True)
    return [each for each in listing.stdout.splitlines() if "sample-child" in each]


def test_each_outcome_of_unittest_is_told_apart(worker: Worker) -> None:
    result = run(worker, "outcomes")
    assert outcomes(result) == {
        "Plain.test_error": "error",
        "Plain.test_exit": "error",
        "Plain.test_expected_failure": "xfail",
        "Plain.test_fail": "fail",
        "Plain.test_ok": "ok",
        "Plain.test_skip": "skip",
        "Plain.test_subtests": "fail",
        "Plain.test_unexpected_success": "fail",
        "SetUpFails.test_one": "error",
        "SetUpFails.test_two": "error",
        "SetUpSkips.test_one": "skip",
        "TearDownFails.test_one": "ok",
        "Twice.test_same": "ok",
        "Twice.test_same#2": "ok",
    }
    assert list(result.extra) == ["tearDownClass (sample.outcomes.TearDownFails)"]
    assert result.processes == 1


def test_a_hang_costs_the_test_or_fixture_that_it_is_in(worker: Worker) -> None:
    result = run(worker, "hangs")
    assert outcomes(result) == {
        "A.test_1_before": "ok",
        "A.test_2_hangs": "hang",
        "A.test_3_child_hangs": "hang",
        "A.test_4_after": "ok",
        "B.test_1": "hang",
        "B.test_2": "hang",
        "C.test_1": "ok",
        "D.test_1_last": "ok",
    }
    assert list(result.extra) == ["tearDownClass (sample.hangs.C)"]
    detail = result.tests["sample.hangs.A.test_2_hangs"].detail
    assert detail.count("in wait_here") >= 4, "both threads, seen by Python and by faulthandler"
    assert "sample-child" in result.tests["sample.hangs.A.test_3_child_hangs"].detail
    assert not sample_children()


def test_a_crash_costs_one_test(worker: Worker) -> None:
    result = run(worker, "crashes")
    assert outcomes(result) == {
        "A.test_1_killed": "crash",
        "A.test_2_exits": "crash",
        "A.test_3_interrupted": "abort",
        "A.test_4_forks": "error",
        "A.test_5_closes_everything": "ok",
        "A.test_6_leaves_a_process": "ok",
        "A.test_7_last": "ok",
    }
    assert "SIGSEGV" in result.tests["sample.crashes.A.test_1_killed"].detail
    assert "forked child" in result.tests["sample.crashes.A.test_4_forks"].detail
    assert ["sample-child" in each for each in result.leftovers] == [True]
    assert not sample_children()


def test_a_process_that_ends_badly_is_a_failure_of_its_own(worker: Worker) -> None:
    result = run(worker, "at_exit")
    assert outcomes(result) == {"A.test_1": "ok"}
    assert {key: each.outcome for key, each in result.extra.items()} == {"<exit>": "crash"}


def test_a_file_that_is_not_loaded_says_why(worker: Worker) -> None:
    assert "on purpose" in run(worker, "no_import").extra["<import>"].detail
    assert run(worker, "skipped").skipped == "on purpose"


def test_one_test_can_be_asked_for(worker: Worker) -> None:
    assert outcomes(run(worker, "outcomes", only=["Plain.test_ok"])) == {"Plain.test_ok": "ok"}


def test_plain_python_is_not_taken_for_patched(worker: Worker) -> None:
    with pytest.raises(RuntimeError, match="native thread"):
        run(worker, "outcomes", patched=True)


def run_of(**tests: str) -> Run:
    return Run(tests={key: Outcome(each) for key, each in tests.items()})


def test_only_what_passes_plain_twice_counts() -> None:
    plain = [run_of(a="ok", b="ok", c="fail", d="ok"), run_of(a="ok", b="fail", c="ok", d="ok")]
    result = verdict.compare("f", plain, run_of(a="ok", d="skip", e="fail"))
    assert result.counted == ["a", "d"]
    assert result.flaky == {"b": "ok, then fail", "c": "fail, then ok"}
    assert (list(result.failures), result.passed) == (["d"], 1)


def test_what_passes_here_may_be_taken_to_pass_plain() -> None:
    run = run_of(a="ok", b="fail", c="skip")
    plain = [verdict.with_passes_of(run, run_of(b="ok", c="skip", d="ok"))] * 2
    result = verdict.compare("f", plain, run)
    assert result.counted == ["a", "b", "d"]
    assert {key: each.outcome for key, each in result.failures.items()} == {
        "b": "fail",
        "d": "missing",
    }


def test_what_is_skipped_or_gone_is_no_pass() -> None:
    plain = [run_of(a="ok", b="ok")] * 2
    result = verdict.compare("f", plain, run_of(a="skip"))
    assert {key: each.outcome for key, each in result.failures.items()} == {
        "a": "skip",
        "b": "missing",
    }


def entry(test: str) -> expected.Entry:
    return expected.Entry("f", test, "3.13", expected.OPEN_FAULT, "a reason")


def test_an_entry_must_name_a_test_that_fails() -> None:
    plain = [run_of(a="ok", b="ok", c="fail", d="ok"), run_of(a="ok", b="ok", c="fail", d="fail")]
    result = verdict.compare("f", plain, run_of(a="fail", b="ok", c="fail", d="fail"))
    judged = verdict.judge(result, [entry("a"), entry("b"), entry("c"), entry("d")])
    assert not judged.unexpected
    assert list(judged.expected) == ["a"]
    assert [each.test for each in judged.passes_now] == ["b"]
    assert [each.test for each in judged.pointless.values()] == ["c", "d"]
    assert not judged.good
    assert verdict.judge(result, [entry("a")]).good
    assert list(verdict.judge(result, []).unexpected) == ["a"]


GOOD = {
    "file": "test_queue",
    "test": "test.test_queue.CQueueTest.test_basic",
    "versions": ["3.13", "3.14"],
    "class": "open fault",
    "reason": "because",
}


def test_an_entry_stands_for_one_test_in_each_of_its_versions() -> None:
    assert [each.version for each in expected.parse({"expected": [GOOD]}, "x")] == ["3.13", "3.14"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reason": " "}, "not empty"),
        ({"class": "flaky"}, "must be one of"),
        ({"versions": []}, "must be a list"),
        ({"versions": ["all"]}, "no version"),
        ({"test": "test.test_queue.*"}, "name one test"),
        ({"retries": 3}, "exactly"),
    ],
)
def test_a_doubtful_entry_is_an_error(change: dict[str, object], message: str) -> None:
    with pytest.raises(expected.ExpectedError, match=message):
        expected.parse({"expected": [{**GOOD, **change}]}, "x")


def test_two_entries_for_one_test_are_an_error() -> None:
    with pytest.raises(expected.ExpectedError, match="two entries"):
        expected.parse({"expected": [GOOD, GOOD]}, "x")


def test_only_so_much_may_be_called_impossible() -> None:
    many = [{**GOOD, "test": f"a.b.{n}", "class": "cannot hold"} for n in range(21)]
    with pytest.raises(expected.ExpectedError, match="at most 20"):
        expected.parse({"expected": many}, "x")


def test_verdicts_are_kept_file_by_file_for_one_release(tmp_path: Path) -> None:
    def note(version: str, file: str, **tests: str) -> None:
        plain = [run_of(a="ok", b="ok")] * 2
        judged = verdict.compare(file, plain, run_of(**tests))
        known = recorded.Recorded("3.13", version, files=["f", "g", "h"], absent=["i"])
        summary = recorded.verdict_of(
            judged, plain[0], "graftlet 1", proven=True, quick=file == "f"
        )
        known.add(tmp_path, "graftlet", file, summary)

    note("3.13.1", "g", a="ok", b="ok")
    note("3.13.1", "f", a="ok", b="hang")
    (found,) = recorded.read_all(tmp_path)
    kept = found.under("graftlet")
    assert {file: (each.passed, each.all_failures) for file, each in kept.items()} == {
        "f": (1, {"b": "hang"}),
        "g": (2, {}),
    }
    assert list(kept) == ["f", "g"], "in the order of the files"
    page = report.write([found], [])
    assert "| 3.13.1 | graftlet 1 | 2 of 3 | 4 | 4 | 3 | 75.0 % | 0 | 0 |" in page
    assert "| `f`\\* | 2 | 2 | 1 | 50.0 % |" in page
    assert "| `g` | 2 | 2 | 2 | 100.0 % |" in page
    assert "- `f`: `b` (hang)" in page
    assert "Not run: `h`." in page
    note("3.13.2", "g", a="ok", b="ok")
    (found,) = recorded.read_all(tmp_path)
    assert (found.version, list(found.under("graftlet"))) == ("3.13.2", ["g"])


def test_the_page_is_current() -> None:
    page = report.write(recorded.read_all(RECORDED), expected.load(EXPECTED))
    assert REPORT.read_text() == page, "make it: python integration/stdlib/run.py --report"

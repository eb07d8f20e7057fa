"""urllib3's own test suite: every test that passes under plain Python passes under graftlet.

Rule: the suite is the one of urllib3's source distribution, unmodified, with the dependencies that it names, in
a virtual environment and a directory of its own. Both runs are made in a network namespace that has the
loopback interface only, and a default route to it: the suite reaches for addresses like 240.0.0.0 to see
time-outs, and no packet of it can leave the machine. Test by test the outcomes are compared. About 40 tests fail
either way: they need urllib3's own fork of hypercorn, which is not on PyPI.

    python integration/libraries/suites/urllib3.py [test paths of urllib3 ...]

Exit status: 0 if no test passes plain and fails under graftlet, 1 otherwise, 2 if it could not be run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[3]
VERSION = "2.8.0"
#: Environment and source are kept here for the next time.
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "graftlet-suites")
#: Seconds for one test, and for all.
ONE_TEST, ALL_TESTS = 60, 1500

#: In a user namespace nobody need be root; `unshare` says what is wrong if neither is allowed.
CONFINED = [
    "unshare",
    *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]),
    "--net",
    "--mount",
]
#: A name server where none is refuses at once; one that can't be reached is waited for.
LOOPBACK = """
ip link set lo up && ip route add default dev lo &&
mount --bind "$1" /etc/resolv.conf && shift && exec "$@"
"""


class Unusable(Exception):
    """A run of the suite that says nothing."""


def run(*words: str, **options: object) -> None:
    """A step of the preparation."""
    subprocess.run(words, check=True, **options)  # type: ignore[call-overload] # cwd and the like


def prepare(python: str) -> tuple[Path, Path]:
    """The interpreter of an environment with all that is needed, and the directory of the source."""
    version = "{}.{}".format(*sys.version_info)
    directory = CACHE / f"urllib3-{VERSION}-{version}"
    interpreter = directory / "environment" / "bin" / "python"
    source = directory / f"urllib3-{VERSION}"
    if not interpreter.exists():
        directory.mkdir(parents=True, exist_ok=True)
        run(python, "-m", "venv", str(interpreter.parents[1]))
        pip = (str(interpreter), "-m", "pip", "--disable-pip-version-check", "-q")
        run(*pip, "install", "--upgrade", "pip>=25.1")  # --group
        run(
            *pip,
            "download",
            "--no-deps",
            "--no-binary=urllib3",
            f"urllib3=={VERSION}",
            cwd=directory,
        )
        with tarfile.open(next(directory.glob("urllib3-*.tar.gz"))) as archive:
            archive.extractall(directory, filter="data")
        run(
            *pip,
            "install",
            f"{source}[brotli,zstd,socks,h2]",
            "--group",
            f"{source}/pyproject.toml:dev",
        )
    pip = (str(interpreter), "-m", "pip", "--disable-pip-version-check", "-q")
    run(*pip, "install", "--force-reinstall", "--no-deps", str(ROOT))
    run(*pip, "install", "greenlet>=3.5.3")
    return interpreter, source


def outcomes(way: str, interpreter: Path, source: Path, tests: list[str]) -> dict[str, str]:
    """Run the suite; for each test whether it passed, failed or was skipped."""
    results = source.parent / f"{way}.xml"
    results.unlink(missing_ok=True)
    command = [str(interpreter), *(["-m", "graftlet"] if way == "graftlet" else []), "-m", "pytest"]
    options = [f"--junitxml={results}", f"--timeout={ONE_TEST}", "-q", "-p", "no:cacheprovider"]
    # memray calls its support of greenlets experimental, and may wait for a lock that it holds itself when it
    # traces a switch. The tests whose memory it bounds run all the same, without the bound.
    options += ["-p", "no:memray"]
    names = source.parent / "resolv.conf"
    names.write_text("nameserver 127.0.0.1\n", encoding="utf-8")
    with (source.parent / f"{way}.log").open("w", encoding="utf-8") as log:
        status = subprocess.run(
            [*CONFINED, "sh", "-c", LOOPBACK, "sh", str(names), *command, *options, *tests],
            cwd=source,
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=ALL_TESTS,
            check=False,
        ).returncode
    # 0 and 1: it has come to its end. Results of a run that has not are of no use.
    if status not in {0, 1} or not results.exists():
        raise Unusable(f"{way}: pytest ended with status {status}; see {log.name}")
    found: dict[str, str] = {}
    for case in ET.parse(results).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = (
            "failed"
            if kinds & {"failure", "error"}
            else "skipped"
            if kinds & {"skipped"}
            else "passed"
        )
        name = f"{case.get('classname')}.{case.get('name')}"
        # A test with an error in its teardown is listed twice.
        found[name] = "failed" if found.get(name) == "failed" else outcome
    return found


def main() -> int:
    """Compare both runs, and say what differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tests", nargs="*", default=["test"], help="paths within urllib3's source")
    tests = parser.parse_args().tests
    try:
        interpreter, source = prepare(sys.executable)
        plain = outcomes("plain", interpreter, source, tests)
        grafted = outcomes("graftlet", interpreter, source, tests)
    except (OSError, subprocess.SubprocessError, Unusable) as error:
        print(f"urllib3's suite could not be run: {error}", file=sys.stderr)
        return 2
    worse = sorted(
        name for name, outcome in plain.items() if outcome == "passed" != grafted.get(name)
    )
    flaky: list[str] = []
    if worse:
        # As with CPython's tests: what does not always pass plain says nothing.
        again = outcomes("plain-again", interpreter, source, tests)
        flaky = [name for name in worse if again.get(name) != "passed"]
        worse = [name for name in worse if name not in flaky]
    better = sorted(
        name
        for name, outcome in plain.items()
        if outcome == "failed" and grafted.get(name) == "passed"
    )
    for name in worse:
        print(f"passes plain, under graftlet {grafted.get(name, 'it was not run')}: {name}")
    for name in flaky:
        print(
            f"passes plain not always, under graftlet {grafted.get(name, 'it was not run')}: {name}"
        )
    for name in better:
        print(f"fails plain, passes under graftlet: {name}")
    passed = sum(outcome == "passed" for outcome in plain.values())
    print(
        f"urllib3 {VERSION}: {len(plain)} tests, {passed} pass under plain Python, "
        f"{len(worse)} of these fail under graftlet; logs are in {source.parent}"
    )
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())

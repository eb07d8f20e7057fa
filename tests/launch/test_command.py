"""The command line: where the launcher's part ends and the program's begins."""

from __future__ import annotations

import pytest

from graftlet.launch import main
from graftlet.launch._command import UsageError, parse


@pytest.mark.parametrize(
    ("line", "kind", "target", "arguments"),
    [
        ("a.py", "file", "a.py", []),
        ("a.py -m b -c --version --", "file", "a.py", ["-m", "b", "-c", "--version", "--"]),
        ("-- -a.py --help", "file", "-a.py", ["--help"]),
        ("-- - x", "stdin", "-", ["x"]),
        ("- -m", "stdin", "-", ["-m"]),
        ("-m a b", "module", "a", ["b"]),
        ("-ma -b", "module", "a", ["-b"]),
        ("-m -m", "module", "-m", []),
        ("-c a -c b", "code", "a", ["-c", "b"]),
        ("-cprint -h", "code", "print", ["-h"]),
        ("--help a.py", "help", "", []),
        ("-h", "help", "", []),
        ("-V", "version", "", []),
        ("--version nonsense", "version", "", []),
    ],
)
def test_split(line: str, kind: str, target: str, arguments: list[str]) -> None:
    for option in ([], ["--follow-children"]):
        command = parse([*option, *line.split()])
        assert (command.kind, command.target, command.arguments) == (kind, target, arguments)
        if kind not in ("help", "version"):
            assert command.follow_children is bool(option)


def test_an_empty_argument_is_one() -> None:
    assert (parse(["-c", "", "x"]).kind, parse(["-c", "", "x"]).arguments) == ("code", ["x"])
    assert (parse([""]).kind, parse([""]).target) == ("file", "")


def test_packages_that_stay_native() -> None:
    for line in ("--native a,b c.py --native d", "--native=a --native b c.py --native d"):
        command = parse(line.split())
        assert command.native.strip(",") == "a,b"
        assert (command.target, command.arguments) == ("c.py", ["--native", "d"])


def test_options_after_the_program_are_the_programs() -> None:
    command = parse(["a.py", "--follow-children"])
    assert not command.follow_children
    assert command.arguments == ["--follow-children"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no program given"),
        (["--"], "no program given"),
        (["--follow-children"], "no program given"),
        (["-m"], "argument expected for the -m option"),
        (["-c"], "argument expected for the -c option"),
        (["--native"], "argument expected for the --native option"),
        (["--native=", "a.py"], "argument expected for the --native option"),
        (["--nonsense", "a.py"], "unknown option --nonsense"),
        (["-X", "dev", "a.py"], "python -X ... -m graftlet"),
        (["-O", "a.py"], "python -O ... -m graftlet"),
    ],
)
def test_wrong(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=said.replace(".", r"\.")):
        parse(words)
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert exit_.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("graftlet: ")
    assert "usage: graftlet" in captured.err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    captured = capsys.readouterr()
    assert captured.err == ""
    for word in (
        "--follow-children",
        "--native",
        "GRAFTLET_NATIVE",
        "--version",
        "-m module",
        "-c code",
        "GRAFTLET=0",
    ):
        assert word in captured.out
    assert max(map(len, captured.out.splitlines())) < 80

"""The command line, read as ``python`` reads its own.

Rule: the first word that is not an option, or ``-m``, ``-c`` and ``-``, ends the launcher's part;
not one word after it is looked at. This file only reads: it touches no file and no ``sys``.
By hand rather than with argparse, which costs about 10 ms to import and takes options out of the
program's part as well.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    Kind: TypeAlias = Literal["file", "module", "code", "stdin", "doctor", "help", "version"]

HELP = """\
usage: graftlet [options] script.py [arguments]
       graftlet [options] directory-or-zip [arguments]
       graftlet [options] program [arguments]
       graftlet [options] -m module [arguments]
       graftlet [options] -c code [arguments]
       graftlet [options] - [arguments]
       graftlet doctor [--strict] script.py|program|-m module

Run a Python program that was written for threads and blocking sockets with
cooperative greenlets instead, without changing it. 'program' is an installed
Python command, looked up on PATH when there is no file of that name; '-' reads
the program from standard input.

options:
  --follow-children  Python processes that the program starts run so as well
  --native PACKAGES  packages, with commas, that keep native threads (grpc)
  -h, --help         show this text
  -V, --version      show graftlet's version

graftlet doctor does not run the program. It imports what the program imports,
and says what graftlet will replace, which C libraries it knows to block and
what to do about each, and whether anything stays as it was. The program's own
module is executed under another name than __main__ if it asks for that name
(if __name__ == "__main__"); of any other module nothing but the import
statements is executed. A program called 'doctor': graftlet -- doctor
  --strict           exit with status 1 if anything stays as it was, or blocks

All arguments after the program are the program's own. Options of the
interpreter go to the interpreter: python -X dev -W error -m graftlet script.py

environment:
  GRAFTLET=0         run the program unchanged, on real threads
  GRAFTLET_NATIVE    more packages for --native
"""


class UsageError(Exception):
    """The command line can't be read; the message says why and what to do."""


class Command:
    """What was asked for: a kind, its target and everything that belongs to the program."""

    __slots__ = ("arguments", "follow_children", "is_module", "kind", "native", "strict", "target")

    def __init__(
        self,
        kind: Kind,
        target: str = "",
        arguments: list[str] | None = None,
        follow_children: bool = False,
        is_module: bool = False,
        strict: bool = False,
        native: str = "",
    ) -> None:
        self.kind: Kind = kind
        self.target = target
        self.arguments: list[str] = [] if arguments is None else arguments
        self.follow_children = follow_children
        #: Names with commas.
        self.native = native
        #: Of ``doctor``: whether the target is a module, and whether what can't be patched is a failure.
        self.is_module = is_module
        self.strict = strict


def parse(words: list[str]) -> Command:
    """Read the words after the command's name.

    :raises UsageError: for an unknown option, a missing argument, or no program at all.
    """
    follow_children = False
    native = ""
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word in ("-h", "--help"):
            return Command("help")
        if word in ("-V", "--version"):
            return Command("version")
        if word == "--follow-children":
            follow_children = True
            continue
        if word == "--native" or word.startswith("--native="):
            names = [word[9:]] if word != "--native" else words[position : position + 1]
            if not any(names):
                raise UsageError(f"argument expected for the --native option\n{HINT}")
            position += word == "--native"
            native += f",{names[0]}"
            continue
        if word == "doctor":
            return _doctor(words[position:])
        if word[:2] in ("-m", "-c"):
            # As python: the argument may be glued to the option, and may be empty if it is not.
            rest = [*filter(None, [word[2:]]), *words[position:]]
            if not rest:
                raise UsageError(f"argument expected for the {word} option\n{HINT}")
            kind: Kind = "module" if word[1] == "m" else "code"
            return Command(kind, rest[0], rest[1:], follow_children, native=native)
        if word == "--":
            if position == len(words):
                break
            word = words[position]
            position += 1
        elif word.startswith("-") and word != "-":
            raise UsageError(
                f"unknown option {word} (an option of the interpreter? then: "
                f"python {word} ... -m graftlet ...)\n{HINT}"
            )
        if word == "-":
            return Command("stdin", word, words[position:], follow_children, native=native)
        return Command("file", word, words[position:], follow_children, native=native)
    raise UsageError(f"no program given\n{HINT}")


def _doctor(words: list[str]) -> Command:
    """What comes after ``doctor``."""
    strict = "--strict" in words
    rest = [word for word in words if word != "--strict"]
    if rest in (["-h"], ["--help"]):
        return Command("help")
    is_module = bool(rest) and rest[0].startswith("-m")
    if is_module:
        rest[:1] = [rest[0][2:]] if rest[0] != "-m" else []
    if not rest or (rest[0].startswith("-") and not is_module):
        raise UsageError(f"doctor: a script, a program or -m module is needed\n{HINT}")
    if len(rest) > 1:
        raise UsageError(
            f"doctor: the program is not run, so it gets no arguments: {rest[1]}\n{HINT}"
        )
    return Command("doctor", rest[0], is_module=is_module, strict=strict)


HINT = "usage: graftlet [options] script.py|program|-m module|-c code|- [arguments]; see --help"

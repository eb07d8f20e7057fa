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

    Kind: TypeAlias = Literal["file", "module", "code", "stdin", "help", "version"]

HELP = """\
usage: graftlet [options] script.py [arguments]
       graftlet [options] directory-or-zip [arguments]
       graftlet [options] program [arguments]
       graftlet [options] -m module [arguments]
       graftlet [options] -c code [arguments]
       graftlet [options] - [arguments]

Run a Python program that was written for threads and blocking sockets with
cooperative greenlets instead, without changing it. 'program' is an installed
Python command, looked up on PATH when there is no file of that name; '-' reads
the program from standard input.

options:
  --follow-children  Python processes that the program starts run so as well
  -h, --help         show this text
  -V, --version      show graftlet's version

All arguments after the program are the program's own. Options of the
interpreter go to the interpreter: python -X dev -W error -m graftlet script.py

environment:
  GRAFTLET=0         run the program unchanged, on real threads
"""


class UsageError(Exception):
    """The command line can't be read; the message says why and what to do."""


class Command:
    """What was asked for: a kind, its target and everything that belongs to the program."""

    __slots__ = ("arguments", "follow_children", "kind", "target")

    def __init__(
        self,
        kind: Kind,
        target: str = "",
        arguments: list[str] | None = None,
        follow_children: bool = False,
    ) -> None:
        self.kind: Kind = kind
        self.target = target
        self.arguments: list[str] = [] if arguments is None else arguments
        self.follow_children = follow_children


def parse(words: list[str]) -> Command:
    """Read the words after the command's name.

    :raises UsageError: for an unknown option, a missing argument, or no program at all.
    """
    follow_children = False
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
        if word[:2] in ("-m", "-c"):
            # As python: the argument may be glued to the option, and may be empty if it is not.
            if len(word) > 2:
                target = word[2:]
            elif position < len(words):
                target = words[position]
                position += 1
            else:
                raise UsageError(f"argument expected for the {word} option\n{HINT}")
            kind: Kind = "module" if word[1] == "m" else "code"
            return Command(kind, target, words[position:], follow_children)
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
            return Command("stdin", word, words[position:], follow_children)
        return Command("file", word, words[position:], follow_children)
    raise UsageError(f"no program given\n{HINT}")


HINT = "usage: graftlet [options] script.py|program|-m module|-c code|- [arguments]; see --help"

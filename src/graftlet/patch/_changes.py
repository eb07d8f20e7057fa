"""One change that patching makes: the words that the table is written in.

Rule: data only; `graftlet.patch._engine` carries it out.
"""

from typing import Any


class Change:
    """One attribute of ``owner`` (a module, or a class for a method) and what takes its place."""

    __slots__ = ("name", "owner", "replacement", "sweep")

    def __init__(self, owner: Any, name: str, replacement: Any, sweep: bool = True) -> None:
        self.owner = owner
        self.name = name
        self.replacement = replacement
        #: Whether other references to the original must be found and rebound, too.
        self.sweep = sweep

    def __str__(self) -> str:
        owner = self.owner
        where = owner.__name__
        if isinstance(owner, type):
            where = f"{owner.__module__}.{where}"
        return f"{where}.{self.name}"

"""What patching did, and what it could not do.

Rule: nothing is left unpatched in silence. The report is data; ``str`` of it is for people.
"""

from typing import Any


class Place:
    """Somewhere in the program that refers to something patched.

    Attributes:
        where: module and name, with file and line where they are known.
        value: what it still holds, if it could not be changed; else None.
    """

    __slots__ = ("value", "where")

    def __init__(self, where: str, value: Any = None) -> None:
        self.where = where
        self.value = value

    def __repr__(self) -> str:
        return f"Place({str(self)!r})"

    def __str__(self) -> str:
        return self.where if self.value is None else f"{self.where} holds {self.value!r}"


class Report:
    """What one call of `graftlet.patch_all` has done.

    Attributes:
        groups: the names of the groups that are patched now.
        replaced: what was replaced, each as ``module.name``.
        rebound: other references to these that were rebound.
        converted: objects made before (locks, queues, selectors) that are cooperative now.
        unreached: references that could not be changed: code that uses these still blocks.
        warnings: combinations of groups that can't work well.
        native: the packages that keep what is native.
        already: True if all had been patched before, so that nothing was done.
    """

    def __init__(self) -> None:
        self.groups: list[str] = []
        self.replaced: list[str] = []
        self.rebound: list[Place] = []
        self.converted: list[str] = []
        self.unreached: list[Place] = []
        self.warnings: list[str] = []
        self.native: list[str] = []
        self.already = False

    def __str__(self) -> str:
        if self.already:
            return f"graftlet: patched already: {', '.join(self.groups)}"
        lines = [
            (
                f"graftlet: patched {', '.join(self.groups)}: "
                f"{len(self.replaced)} names replaced, {len(self.rebound)} other references rebound, "
                f"{len(self.converted)} objects converted"
            )
        ]
        if self.native:
            lines.append(f"  left native: {', '.join(self.native)}")
        lines += [f"  warning: {warning}" for warning in self.warnings]
        lines += [f"  out of reach: {place}" for place in self.unreached]
        return "\n".join(lines)

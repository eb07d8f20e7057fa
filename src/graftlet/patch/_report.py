"""What patching did, and what it could not do.

Rule: nothing is left unpatched in silence. The report is data; ``str`` of it is for people.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Place:
    """Somewhere in the program that refers to something patched."""

    where: str
    value: Any = field(default=None, compare=False)

    def __str__(self) -> str:
        return self.where if self.value is None else f"{self.where} holds {self.value!r}"


@dataclass
class Report:
    """What one call of `graftlet.patch_all` has done."""

    #: The names of the groups that are patched now.
    groups: list[str] = field(default_factory=list)
    #: What was replaced, each as ``module.name``.
    replaced: list[str] = field(default_factory=list)
    #: Other references to these that were rebound.
    rebound: list[Place] = field(default_factory=list)
    #: Objects made before (locks, queues, selectors) that are cooperative now.
    converted: list[str] = field(default_factory=list)
    #: References that could not be changed: code that uses these still blocks.
    unreached: list[Place] = field(default_factory=list)
    #: Combinations of groups that can't work well.
    warnings: list[str] = field(default_factory=list)
    #: True if all had been patched before, so that nothing was done.
    already: bool = False

    def __str__(self) -> str:
        if self.already:
            return f"graftlet: patched already: {', '.join(self.groups)}"
        lines = [
            f"graftlet: patched {', '.join(self.groups)}: {len(self.replaced)} names replaced, "
            f"{len(self.rebound)} other references rebound, {len(self.converted)} objects converted"
        ]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        lines += [f"  out of reach: {place}" for place in self.unreached]
        return "\n".join(lines)

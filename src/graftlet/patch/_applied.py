"""Which groups are patched now: what both the engine and its stand-ins must know.

Rule: only the engine changes it.
"""

from typing import Any, Final

#: By group, in the order in which they were made: the changes, each with what was there before.
applied: Final[dict[str, list[Any]]] = {}
#: The same for modules that were imported later, or afresh.
late: Final[list[Any]] = []


def every_change() -> list[Any]:
    """What is patched now, in the order in which it was, and what was there before."""
    return [*(each for every in applied.values() for each in every), *late]

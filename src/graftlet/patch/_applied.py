"""Which groups are patched now: what both the engine and its stand-ins must know.

Rule: only the engine changes it.
"""

from typing import Any, Final

#: By group, in the order in which they were made: the changes, each with what was there before.
applied: Final[dict[str, list[Any]]] = {}

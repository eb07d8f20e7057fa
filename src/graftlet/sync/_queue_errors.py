"""`Empty`, `Full` and `ShutDown`: the standard library's own, so that old ``except`` clauses match.

Rule: no class of our own where the standard library has one. Importing this imports ``queue``, and with it
``threading``.
"""

import sys
from queue import Empty, Full

if sys.version_info >= (3, 13):
    from queue import ShutDown
else:  # goes with 3.12

    class ShutDown(Exception):
        """Raised by ``put`` and ``get`` of a queue that has been shut down."""


__all__ = ("Empty", "Full", "ShutDown")

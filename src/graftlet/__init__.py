"""graftlet: old blocking, threaded Python as thousands of cooperative greenlets, unchanged.

Names only; the house is described in ``docs/design.md``.
"""

from graftlet.core._current import get_hub as get_hub
from graftlet.core._errors import Deadlock as Deadlock
from graftlet.core._errors import GreenletExit as GreenletExit
from graftlet.core._greenlet import Greenlet as Greenlet
from graftlet.core._greenlet import getcurrent as getcurrent
from graftlet.core._greenlet import spawn as spawn
from graftlet.core._greenlet import spawn_raw as spawn_raw
from graftlet.core._timeout import Timeout as Timeout
from graftlet.core._timeout import with_timeout as with_timeout
from graftlet.core._waiting import *

__version__ = "0.1.0"

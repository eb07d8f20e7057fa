"""Old blocking, threaded Python as thousands of cooperative greenlets, without a changed line.

``graftlet script.py`` on the command line, or `patch_all` at start-up, is the whole migration; the rest
is for programs that know of greenlets. The house is described in ``docs/design.md``.
"""

import graftlet.ext  # noqa: F401 - puts the adapters into the table of what is patched
from graftlet.core._current import get_hub as get_hub
from graftlet.core._errors import BlockingCallOnHub as BlockingCallOnHub
from graftlet.core._errors import Deadlock as Deadlock
from graftlet.core._errors import GreenletExit as GreenletExit
from graftlet.core._errors import InternalError as InternalError
from graftlet.core._greenlet import Greenlet as Greenlet
from graftlet.core._greenlet import getcurrent as getcurrent
from graftlet.core._greenlet import spawn as spawn
from graftlet.core._greenlet import spawn_raw as spawn_raw
from graftlet.core._hub import Hub as Hub
from graftlet.core._links import LinkedCompleted as LinkedCompleted
from graftlet.core._links import LinkedExited as LinkedExited
from graftlet.core._links import LinkedFailed as LinkedFailed
from graftlet.core._links import LinkedKilled as LinkedKilled
from graftlet.core._timeout import Timeout as Timeout
from graftlet.core._timeout import with_timeout as with_timeout
from graftlet.core._waiting import idle as idle
from graftlet.core._waiting import iwait as iwait
from graftlet.core._waiting import joinall as joinall
from graftlet.core._waiting import killall as killall
from graftlet.core._waiting import sleep as sleep
from graftlet.core._waiting import spawn_later as spawn_later
from graftlet.core._waiting import spawn_link as spawn_link
from graftlet.core._waiting import spawn_link_exception as spawn_link_exception
from graftlet.core._waiting import spawn_link_value as spawn_link_value
from graftlet.core._waiting import wait as wait
from graftlet.io._offload import offload as offload
from graftlet.patch._engine import is_patched as is_patched
from graftlet.patch._engine import patch_all as patch_all
from graftlet.patch._engine import patched as patched
from graftlet.patch._engine import unpatch_all as unpatch_all
from graftlet.sync._group import Group as Group
from graftlet.sync._pool import Pool as Pool

__all__ = (
    "BlockingCallOnHub",
    "Deadlock",
    "Greenlet",
    "GreenletExit",
    "Group",
    "Hub",
    "InternalError",
    "LinkedCompleted",
    "LinkedExited",
    "LinkedFailed",
    "LinkedKilled",
    "Pool",
    "Timeout",
    "__version__",
    "get_hub",
    "getcurrent",
    "idle",
    "is_patched",
    "iwait",
    "joinall",
    "killall",
    "offload",
    "patch_all",
    "patched",
    "sleep",
    "spawn",
    "spawn_later",
    "spawn_link",
    "spawn_link_exception",
    "spawn_link_value",
    "spawn_raw",
    "unpatch_all",
    "wait",
    "with_timeout",
)

__version__ = "0.1.0"

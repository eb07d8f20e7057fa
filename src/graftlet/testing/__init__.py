"""For tests of programs that run on graftlet: time that jumps, order that is controlled, leaks found.

Rule: no real waiting. A test runs on a hub of its own (`fresh_hub`), whose `FakeClock` jumps to the next
deadline as soon as every greenlet is parked: an hour of time-outs takes no time at all, and takes
exactly an hour by the clock. Order is made certain with `wait_all_parked` and `Sequencer`, or made
uncertain on purpose with `shuffled`. At its end a test asks `assert_hub_empty` whether anything was
left behind. With pytest, one fixture does all this::

    @pytest.fixture(autouse=True)
    def hub():
        with fresh_hub() as hub:
            yield hub
            assert_hub_empty()

Nothing here knows a test framework.
"""

from graftlet.testing._checks import assert_hub_empty as assert_hub_empty
from graftlet.testing._checks import assert_no_switches as assert_no_switches
from graftlet.testing._checks import assert_switches as assert_switches
from graftlet.testing._clock import FakeClock as FakeClock
from graftlet.testing._fresh import fresh_hub as fresh_hub
from graftlet.testing._order import Sequencer as Sequencer
from graftlet.testing._order import shuffled as shuffled
from graftlet.testing._order import wait_all_parked as wait_all_parked

__all__ = (
    "FakeClock",
    "Sequencer",
    "assert_hub_empty",
    "assert_no_switches",
    "assert_switches",
    "fresh_hub",
    "shuffled",
    "wait_all_parked",
)

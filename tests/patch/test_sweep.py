"""Other references to what is patched: found however deep they lie, and with few questions to the collector."""

from __future__ import annotations

import pytest

from tests.isolated import run_ok

DEEP = """
import threading, time
from functools import partial

native = threading.Lock()
native.acquire()
in_tuples = (1, ("two", (time.sleep, native.acquire)))
class Registry:
    known = {"lock": (native.release, (native.locked,)), "nap": partial(time.sleep, 0.05)}
    def wait(self, how=(time.sleep,)):
        how[0](0.05)
condition = threading.Condition(native)
alone = [(native,)]

import graftlet
before = graftlet.patch_all()
print(type(native).__module__.split(".")[0], [str(each) for each in before.unreached])
nap, acquire = in_tuples[1][1]
def overlap(sleep):
    asleep, most = [], []
    def work():
        asleep.append(1)
        most.append(len(asleep))
        sleep()
        asleep.pop()
    everybody = [threading.Thread(target=work) for _ in range(5)]
    for each in everybody:
        each.start()
    for each in everybody:
        each.join()
    return max(most) > 1
print(all(overlap(how) for how in (partial(nap, 0.05), Registry.known["nap"], Registry().wait)))

release, (locked,) = Registry.known["lock"]
taken = []
waiting = threading.Thread(target=lambda: (acquire(), taken.append(1)))
waiting.start()
time.sleep(0.01)
print(taken, locked(), native.locked(), alone[0][0] is native)
release()
waiting.join()
print(taken, condition._is_owned())
native.release()
print(locked(), condition.acquire(False))
condition.release()
"""


def test_references_that_lie_deep() -> None:
    assert run_ok(DEEP) == ("_thread []\nTrue\n[] True True True\n[1] True\nFalse True\n")


QUESTIONS = """
import gc, sys
import concurrent.futures, http.client, logging.handlers, multiprocessing.managers, queue, select, ssl
import graftlet
{before}
asked = []
def note(frame, event, function):
    if event == "c_call" and function in (gc.get_referrers, gc.get_objects):
        asked.append(function)
sys.setprofile(note)
graftlet.patch_all()
sys.setprofile(None)
print(asked.count(gc.get_objects), len(asked))
"""


@pytest.mark.parametrize("before", ["", "graftlet.sleep(0.001)"], ids=["", "a hub exists"])
def test_the_collector_is_asked_seldom(before: str) -> None:
    """Each question is a pass over all that exists: 8 ms or more with 1,000 modules."""
    every, questions = map(int, run_ok(QUESTIONS.format(before=before)).split())
    assert every == 1
    assert questions <= 4


HIDDEN = """
import select
import graftlet
{before}
kept = [select.epoll()]  # the collector does not know it, up to Python 3.15 at least
graftlet.patch_all()
print(type(kept[0]).__module__.partition(".")[0])
graftlet.sleep(0.001)
"""


@pytest.mark.parametrize("before", ["", "graftlet.sleep(0.001)"], ids=["", "a hub exists"])
def test_an_epoll_among_those_of_hubs(before: str) -> None:
    assert run_ok(HIDDEN.format(before=before)) == "graftlet\n"


PLACES = """
import collections, functools, threading, time, weakref
from collections import OrderedDict, defaultdict, namedtuple

Pair = namedtuple("Pair", "lock nap")
class Registry(dict):
    pass
def lock():
    return threading.Lock()
ordered = OrderedDict(first=0, lock=lock(), last=1)
registry = Registry(lock=lock())
registry.nap = time.sleep
made_on_demand = defaultdict(threading.Lock, lock=lock())
counter = collections.Counter()
counter["nap"] = time.sleep
pair = Pair(lock(), time.sleep)
frozen = {"known": frozenset([lock()])}
bound = functools.partial(lambda lock, nap, how: (lock, nap, how), lock(), time.sleep, how=time.sleep)
strong = lock()
by_name = weakref.WeakValueDictionary(lock=strong)
alive = weakref.WeakSet([strong])
weak = weakref.ref(strong)

def main():
    import graftlet
    mine = lock()
    held_in_a_cell = lock()
    nap = time.sleep
    def inner():
        return held_in_a_cell
    report = graftlet.patch_all()
    found = {
        "ordered": ordered["lock"], "registry": registry["lock"], "registry.nap": registry.nap,
        "default": made_on_demand["lock"], "on demand": made_on_demand["new"], "counter": counter["nap"],
        "pair": pair.lock, "pair.nap": pair.nap, "frozen": next(iter(frozen["known"])),
        "partial": bound()[0], "partial.nap": bound()[1], "partial.how": bound()[2],
        "weak values": by_name["lock"], "weak set": next(iter(alive)), "weak": weak(),
        "variable": mine, "variable nap": nap, "cell": inner(),
    }
    made = graftlet.native.Lock()
    print([name for name, each in found.items() if type(each) in (type(made), type(graftlet.native.sleep))])
    print([str(each) for each in report.unreached])
    print(list(ordered), type(pair), pair._fields, weak() is strong, by_name["lock"] is strong, strong in alive)
    graftlet.unpatch_all()
    back = [
        ordered["lock"], registry["lock"], made_on_demand["lock"], pair.lock, next(iter(frozen["known"])), bound()[0],
        by_name["lock"], next(iter(alive)), weak(), mine, inner(),
    ]
    print(*{type(each) is type(made) for each in back}, {nap, registry.nap, pair.nap, bound()[1]} == {time.sleep})
    print(made_on_demand.default_factory is threading.Lock)

import graftlet, graftlet.native
main()
"""


def test_every_kind_of_place() -> None:
    assert run_ok(PLACES).splitlines() == [
        "[]",
        "[]",
        "['first', 'lock', 'last'] <class '__main__.Pair'> ('lock', 'nap') True True True",
        "True True",
        "True",
    ]


OUT_OF_REACH = """
import functools, threading, time
import graftlet

@functools.lru_cache
def lock_of(name):
    return threading.Lock()
lock_of("a")
started, stop = threading.Event(), threading.Event()
def work():
    lock = threading.Lock()
    started.set()
    while not stop.is_set():
        time.sleep(0.01)
    del lock
thread = threading.Thread(target=work)
thread.start()
started.wait()
report = graftlet.patch_all()
for each in report.unreached:
    print(str(each).split("(")[0], "lock" in str(each))
stop.set()
thread.join()
"""


def test_what_is_out_of_reach_has_a_name() -> None:
    lines = run_ok(OUT_OF_REACH).splitlines()
    assert "a functools._lru_cache_wrapper object of __main__.lock_of  True" in lines
    assert "__main__.work  True" in lines


VALUES_DIE = """
import weakref
import graftlet
class Thing:
    pass
def main():
    thing = Thing()
    known = weakref.ref(thing)
    graftlet.patch_all()
    del thing
    return known() is None
print(main())
"""


def test_local_variables_are_not_kept_alive() -> None:
    assert run_ok(VALUES_DIE) == "True\n"

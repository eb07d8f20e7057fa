"""Who refers to what: the answer must be the garbage collector's, however few or many are asked about."""

from __future__ import annotations

import gc
import sys
from typing import Any

import pytest

from graftlet.patch._referrers import FEW, holders_of, referrers


class Thing:
    """Something that others refer to."""

    __slots__ = ("__weakref__",)


class Holder:
    def __init__(self, thing: Thing) -> None:
        self.thing = thing


def kinds(found: list[Any], among: list[Any]) -> list[str]:
    """The types of those of ``among`` (or their dicts, up to 3.12) that were found."""
    numbers = {id(each) for each in found}
    return sorted(
        type(each).__name__
        for each in among
        if id(each) in numbers
        or (hasattr(each, "__dict__") and any(found_one is vars(each) for found_one in found))
    )


@pytest.mark.parametrize("others", [0, FEW + 1])
def test_all_kinds_of_holders_are_found(others: int) -> None:
    thing = Thing()

    def closure(default: Thing = thing) -> tuple[Thing, Thing]:
        return thing, default

    assert closure.__closure__ is not None
    assert closure.__defaults__ is not None
    holders: list[Any] = [
        [thing],
        {"key": thing},
        {thing},
        (thing, 1),
        Holder(thing),
        closure.__closure__[0],
        closure.__defaults__,
    ]
    bystanders: list[Any] = [[1], {"key": 2}, Holder(Thing())]
    wanted = [thing, *(Thing() for _ in range(others))]
    found = holders_of(wanted, [])
    assert kinds(found, [*holders, *bystanders]) == sorted(
        ["list", "dict", "set", "tuple", "Holder", "cell", "tuple"]
    )
    assert not any(each is wanted for each in found)


def test_what_the_caller_holds_is_left_out() -> None:
    thing = Thing()
    own = [thing]
    other = [thing]
    found = holders_of([thing], [own])
    assert [each is other for each in found if type(each) is list] == [True]


def test_modules_are_found_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[__name__]
    monkeypatch.setattr(module, "kept_for_a_test", Thing(), raising=False)
    asked: list[tuple[Any, ...]] = []

    def ask(wanted: tuple[Any, ...]) -> list[Any]:
        asked.append(wanted)
        return []

    monkeypatch.setattr("graftlet.patch._referrers.referrers", ask)
    found = holders_of([vars(module)["kept_for_a_test"]], [])
    # pytest's monkeypatch knows the old value only; so nobody but the module has the thing.
    assert asked == [()]
    assert any(each is vars(module) for each in found)


def test_many_are_answered_as_few_are() -> None:
    things = [Thing() for _ in range(FEW + 1)]
    holders = [{"it": each} for each in things]
    wanted = tuple(things)
    many = {id(each) for each in referrers(wanted)}
    few = {id(each) for each in gc.get_referrers(*wanted)}
    assert {id(each) for each in holders} <= many
    assert {id(each) for each in (things, wanted)} <= many
    assert {number for number in few if number in {id(each) for each in holders}} <= many


def test_the_answer_does_not_hold_itself() -> None:
    """Or it would be garbage that only the collector takes away, and everything in it with it."""
    things: list[Any] = [Thing() for _ in range(FEW)]
    things += [[each] for each in things]  # asked about, and an answer
    found = referrers(tuple(things))
    assert not any(each is found for each in found)

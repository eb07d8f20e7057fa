"""Applying the table, and undoing it.

Rule: patching may happen at any time, from any module, twice: the result is the same. It is all or
nothing for a group, and every step is kept to be undone in the opposite order.
"""

import contextlib
import os
import sys
import warnings
from collections.abc import Collection, Iterator
from typing import Any, Final

from graftlet.core import _original
from graftlet.io._interpreters import is_main_interpreter
from graftlet.patch import _convert
from graftlet.patch._applied import applied as applied_groups
from graftlet.patch._applied import late as applied_late
from graftlet.patch._changes import Change
from graftlet.patch._imports import no_longer, on_import
from graftlet.patch._kept import native_names, natives
from graftlet.patch._report import Report
from graftlet.patch._sweep import Undo, rebind
from graftlet.patch._table import GROUPS


class _Applied:
    """One change that has been made, and what was there before."""

    __slots__ = ("before", "change", "own")

    def __init__(self, change: Change) -> None:
        self.change = change
        self.before: Any = getattr(change.owner, change.name)
        #: Whether the attribute was the owner's own, and not one inherited.
        self.own = change.name in vars(change.owner)
        setattr(change.owner, change.name, change.replacement)

    def undo(self) -> None:
        if self.own:
            setattr(self.change.owner, self.change.name, self.before)
        else:
            delattr(self.change.owner, self.change.name)


class _State:
    """What is patched in this process."""

    # Slots: it is seen at once whose the lock is, which must not be replaced by patching itself.
    __slots__ = ("applied", "converted", "guard", "late", "log")

    def __init__(self) -> None:
        #: By group, in the order in which they were made.
        self.applied: dict[str, list[_Applied]] = applied_groups
        #: The same for modules that were imported later, or afresh.
        self.late: list[_Applied] = applied_late
        #: What the sweeps have changed in modules, classes and functions.
        self.log: list[Undo] = []
        #: What was converted, and its successor while that lives.
        self.converted: list[_convert.Remembered] = []
        # Reentrant: a group that is being patched may import what another one waits for.
        self.guard = _original.RLock()


_state: Final = _State()


def patch_all(*, native: Collection[str] = (), **groups: bool) -> Report:
    """Make the standard library cooperative, in place, now.

    Args:
        native: packages that keep native threads, locks and sleeps: ``native={"grpc"}``.
        groups: the name of a group and False leaves it alone: ``patch_all(threading=False)``.

    The environment variable ``GRAFTLET_NATIVE`` may name more packages for ``native``, with commas.

    Returns: what was replaced, rebound and converted, and what could not be reached.

    Raises:
        TypeError: there is no such group, or ``native`` is no collection of names.
        ValueError: a name in ``native`` can't be a package, or is one that is patched itself.
        RuntimeError: this is not the main interpreter of the process.
    """
    unknown = [name for name in groups if name not in GROUPS]
    if unknown:
        raise TypeError(
            f"patch_all: no group {', '.join(map(repr, unknown))}; the groups are {', '.join(GROUPS)}"
        )
    islands = native_names(native) | native_names(_natives_of_environment(), "GRAFTLET_NATIVE")
    with _state.guard:
        natives.update(islands)  # before the sweep, which leaves them alone
        report = patch(*(name for name in GROUPS if groups.get(name, True)))
        if natives:
            from graftlet.patch import _islands

            _islands.settle()
    report.native = sorted(natives)
    return report


def _natives_of_environment() -> set[str]:
    names = map(str.strip, os.environ.get("GRAFTLET_NATIVE", "").split(","))
    return set(filter(None, names))


def patch(*names: str) -> Report:
    """Make the named groups of `GROUPS` cooperative (those that are not yet)."""
    for name in names:
        if name not in GROUPS:
            raise ValueError(f"patch: no group {name!r}; the groups are {', '.join(GROUPS)}")
    if not is_main_interpreter():
        raise RuntimeError(
            "patch: this is not the main interpreter of the process, and greenlets are of no use in any "
            "other: its threads stay what they are; call patch_all() in the main one only"
        )
    with _state.guard:
        report = Report()
        new = [name for name in names if name not in _state.applied]
        report.groups = [name for name in GROUPS if name in _state.applied or name in new]
        if not new:
            report.already = True
            return report
        found = {name: GROUPS[name].find() for name in new}
        mapping: dict[int, tuple[Any, Any]] = {}
        for name in new:
            _state.applied[name] = []
            for change in found[name]:
                applied = _Applied(change)
                _state.applied[name].append(applied)
                if change.sweep:
                    mapping[id(applied.before)] = (applied.before, change.replacement)
                report.replaced.append(str(change))
        objects, left, holders = _convert.existing(new, mapping)
        report.converted = _convert.described(objects)
        _state.converted += _convert.remembered(objects)
        everything = {**mapping, **objects}
        report.rebound, report.unreached = rebind(everything, _state.log, holders)
        report.unreached += left
        for name in new:
            _settle(name, True)
        on_import(_watched(), _patch_module)
        report.warnings = _combination_warnings()
    for text in report.warnings:
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    return report


def _module_of(change: Change) -> str:
    owner = change.owner
    name: str = owner.__module__ if isinstance(owner, type) else owner.__name__
    return name


def _watched() -> set[str]:
    """The modules that are to be patched when they are imported, or imported afresh."""
    watched = {_module_of(each.change) for every in _state.applied.values() for each in every}
    for name in _state.applied:
        watched.update(GROUPS[name].late)
    return watched


def _patch_module(module: str) -> None:
    """It has just been imported: nobody has anything of it yet, so there is nothing to rebind."""
    with _state.guard:
        for name, applied in _state.applied.items():
            if module not in GROUPS[name].late and not any(
                _module_of(each.change) == module for each in applied
            ):
                continue
            for change in GROUPS[name].find():
                if (
                    _module_of(change) == module
                    and vars(change.owner).get(change.name) is not change.replacement
                ):
                    _state.late.append(_Applied(change))
            imported = GROUPS[name].imported
            if imported is not None:
                imported(module)


def watch_again() -> None:
    """The table names other modules than it did: patch those that are loaded, wait for the others."""
    with _state.guard:
        if not _state.applied:
            return
        on_import(_watched(), _patch_module)
        known = len(_state.late)
        for module in [name for name in _watched() if name in sys.modules]:
            _patch_module(module)
        new = [applied for applied in _state.late[known:] if applied.change.sweep]
        if new:
            rebind({id(a.before): (a.before, a.change.replacement) for a in new}, _state.log)


def _settle(name: str, patched: bool) -> None:
    settle = GROUPS[name].settle
    if settle is not None:
        settle(patched)


def _combination_warnings() -> list[str]:
    return [
        f"graftlet: {group.name!r} is patched but {needed!r} is not: {reason}"
        for name, group in GROUPS.items()
        if name in _state.applied
        for needed, reason in group.needs.items()
        if needed not in _state.applied
    ]


def unpatch_all() -> Report:
    """Restore everything that was patched. Greenlets that run go on.

    Locks made meanwhile stay what they are, and go on working, as long as greenlets use them.
    """
    with _state.guard:
        report = Report()
        mapping: dict[int, tuple[Any, Any]] = {}
        no_longer(_patch_module)
        if natives:
            from graftlet.patch import _islands

            _islands.give_back()
            natives.clear()
        late = list(_state.late)
        _state.late.clear()
        for applied in reversed(late):
            applied.undo()
        for name in reversed(list(_state.applied)):
            _settle(name, False)
            for applied in reversed(_state.applied.pop(name)):
                applied.undo()
                change = applied.change
                report.replaced.append(str(change))
                # Where one object took the place of several, any of these will do for references
                # that were taken meanwhile; but not a class that can't be called.
                if change.sweep and (
                    id(change.replacement) not in mapping or not isinstance(applied.before, type)
                ):
                    mapping[id(change.replacement)] = (change.replacement, applied.before)
        for applied in late:
            change = applied.change
            if change.sweep:
                pair = (change.replacement, applied.before)
                mapping.setdefault(id(change.replacement), pair)
        while _state.log:
            _state.log.pop().undo()
        mapping.update(_convert.back(_state.converted))
        _state.converted = []
        if mapping:
            report.rebound, report.unreached = rebind(mapping)
        return report


@contextlib.contextmanager
def patched(*, native: Collection[str] = (), **groups: bool) -> Iterator[Report]:
    """A ``with`` block in which the standard library is cooperative; for tests.

    Args:
        native, groups: as in `patch_all`.
    """
    before = set(_state.applied)
    natives_before = set(natives)
    report = patch_all(native=native, **groups)
    try:
        yield report
    finally:
        unpatch_all()
        if before:
            patch_all(native=natives_before, **{name: name in before for name in GROUPS})


def is_patched(name: str) -> bool:
    """Whether group ``name`` of `patch_all` is patched.

    Raises:
        ValueError: there is no such group.
    """
    if name not in GROUPS:
        raise ValueError(f"is_patched: no group {name!r}; the groups are {', '.join(GROUPS)}")
    return name in _state.applied

"""Hearing of imports: at once, in every way a module can be imported, and without a trace afterwards."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from graftlet.patch import _imports
from tests.isolated import run_ok

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Listen = Callable[[Callable[[str], object]], None]

NAME = "graftlet_test_of_imports"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a module that can be imported."""
    file = tmp_path / f"{NAME}.py"
    file.write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield file
    sys.modules.pop(NAME, None)


@pytest.fixture
def listen() -> Iterator[Listen]:
    listeners: list[Callable[[str], object]] = []
    finders = list(sys.meta_path)

    def add(listener: Callable[[str], object]) -> None:
        listeners.append(listener)
        _imports.on_import([NAME], listener)

    yield add
    for listener in listeners:
        _imports.no_longer(listener)
    assert sys.meta_path == finders


def test_told_once_after_the_module_and_before_its_importer(module: Path, listen: Listen) -> None:
    def change(name: str) -> None:
        told.append((name, sys.modules[name].value))
        sys.modules[name].value = 2  # type: ignore[attr-defined] # it is the test's own

    told: list[object] = []
    listen(change)
    space: dict[str, object] = {}
    exec(f"from {NAME} import value", space)
    exec(f"from {NAME} import value", space)
    assert told == [(NAME, 1)]
    assert space["value"] == 2


def test_the_same_listener_twice_is_told_once(module: Path, listen: Listen) -> None:
    told: list[str] = []
    listen(told.append)
    listen(told.append)
    importlib.import_module(NAME)
    assert told == [NAME]


def test_modules_look_as_they_would_without(module: Path, listen: Listen) -> None:
    plain = importlib.import_module(NAME)
    del sys.modules[NAME]
    listen(lambda name: None)
    heard = importlib.import_module(NAME)
    assert plain.__spec__ is not None
    assert heard.__spec__ is not None
    assert type(heard.__loader__) is type(plain.__loader__)
    loaders: list[object] = [heard.__spec__.loader, heard.__loader__]
    assert loaders[0] is loaders[1]
    assert heard.__spec__ == plain.__spec__
    assert heard.__file__ == plain.__file__ == str(module)


def test_told_again_of_a_fresh_module_and_of_a_reload(module: Path, listen: Listen) -> None:
    told: list[ModuleType] = []
    listen(lambda name: told.append(sys.modules[name]))
    first = importlib.import_module(NAME)
    del sys.modules[NAME]
    second = importlib.import_module(NAME)
    importlib.reload(second)
    assert told == [first, second, second]
    assert first is not second


def test_not_told_of_others_nor_of_what_is_not_found(module: Path, listen: Listen) -> None:
    told: list[str] = []
    listen(told.append)
    module.with_name(f"{NAME}_other.py").write_text("")
    importlib.import_module(f"{NAME}_other")
    del sys.modules[f"{NAME}_other"]
    module.unlink()
    importlib.invalidate_caches()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(NAME)
    assert told == []


def test_not_told_of_a_module_that_fails(module: Path, listen: Listen) -> None:
    told: list[str] = []
    listen(told.append)
    module.write_text("raise ValueError('x')")
    with pytest.raises(ValueError, match="x"):
        importlib.import_module(NAME)
    assert told == []
    assert NAME not in sys.modules


def test_a_listener_that_fails_makes_the_import_fail(module: Path, listen: Listen) -> None:
    def fail(name: str) -> None:
        raise ZeroDivisionError(name)

    listen(fail)
    with pytest.raises(ZeroDivisionError, match=NAME):
        importlib.import_module(NAME)
    assert NAME not in sys.modules


def test_no_longer(module: Path) -> None:
    told: list[str] = []
    finders = list(sys.meta_path)
    _imports.on_import([NAME, "another"], told.append)
    assert len(sys.meta_path) == len(finders) + 1
    _imports.no_longer(told.append)
    assert sys.meta_path == finders
    importlib.import_module(NAME)
    assert told == []


def test_finders_that_stand_before_and_a_list_that_was_replaced(
    module: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    listen(told.append)

    class First:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            asked.append(name)

    asked: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(sys, "meta_path", [First, *sys.meta_path])
        importlib.import_module(NAME)
    assert (asked, told) == ([NAME], [NAME])


def test_a_spec_that_is_only_looked_at(module: Path, listen: Listen) -> None:
    """As `pkgutil`, `runpy` and `inspect` do: the loader answers as the real one."""
    told: list[str] = []
    listen(told.append)
    spec = importlib.util.find_spec(NAME)
    assert spec is not None
    assert spec.loader is not None
    assert spec.loader.get_source(NAME) == "value = 1\n"  # type: ignore[attr-defined] # a source loader has it
    assert told == []


def test_fresh_c_module_is_patched_again_and_given_back() -> None:
    out = run_ok(
        """
        import sys
        import _queue as old
        import graftlet
        from graftlet.core import _original
        graftlet.patch_all()
        ours = old.SimpleQueue
        del sys.modules["_queue"]
        import _queue as new
        print(new is old, issubclass(new.SimpleQueue, ours), ours is not _original.SimpleQueue)
        sys.modules["_queue"] = old
        import queue
        print(queue.SimpleQueue is ours)
        graftlet.unpatch_all()
        print(old.SimpleQueue is _original.SimpleQueue is queue.SimpleQueue)
        print(issubclass(new.SimpleQueue, ours), type(new.SimpleQueue()).__module__)
        """
    )
    assert out == "False True True\nTrue\nTrue\nFalse _queue\n"


@pytest.mark.parametrize("order", ["first", "last"])
def test_fresh_queue_and_its_c_half_block_greenlets_only(order: str) -> None:
    """As CPython's own tests import both halves: test.support.import_fresh_module."""
    out = run_ok(
        """
        import sys
        import graftlet
        if sys.argv[1] == "last":
            import queue
        graftlet.patch_all()
        import threading, time
        import queue
        kept = {name: sys.modules.pop(name) for name in ("queue", "_queue")}
        import queue as fresh
        print(fresh is kept["queue"], issubclass(fresh.SimpleQueue, kept["queue"].SimpleQueue))
        sys.modules.update(kept)
        for kind in (fresh.SimpleQueue, fresh.Queue):
            items = kind()
            threading.Timer(0.01, items.put, ["item"]).start()
            print(items.get())
        """,
        order,
    )
    assert out == "False True\nitem\nitem\n"


def test_fresh_python_module_is_patched_again() -> None:
    out = run_ok(
        """
        import sys
        import graftlet
        graftlet.patch_all()
        import socket as old
        del sys.modules["socket"]
        import socket as new
        sys.modules["socket"] = old
        print(new.socket is old.socket, new.socket.recv is old.socket.recv)
        graftlet.unpatch_all()
        print("recv" in vars(new.socket), "recv" in vars(old.socket))
        """
    )
    assert out == "False True\nFalse False\n"

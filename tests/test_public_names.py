"""What is public is said to be, exists and is explained; what isn't said to be public has a `_`.

A module is public if no part of its dotted name starts with ``_``. The check is a function of a
package's name; the second half of this file runs it on small packages that break the rules.
"""

from __future__ import annotations
import __future__

import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from tests.isolated import run_ok

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

METHODS = (staticmethod, classmethod, property)


def public_modules(package: ModuleType) -> list[str]:
    """The dotted names of all public modules of `package`, found by their files."""
    names = []
    for directory in map(Path, package.__path__):
        for path in sorted(directory.rglob("*.py")):
            parts = [package.__name__, *path.relative_to(directory).with_suffix("").parts]
            if parts[-1] == "__init__":
                parts.pop()
            if not any(part.startswith("_") for part in parts):
                names.append(".".join(parts))
    return names


def public_names(module: ModuleType) -> set[str]:
    """What looks public in `module`, other modules aside."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        # `from __future__ import annotations` leaves a name too.
        and not isinstance(value, (ModuleType, __future__._Feature))
    }


def explained(text: str | None, name: str) -> bool:
    # A dataclass or a named tuple without a docstring gets its signature for one.
    return bool(text and text.strip()) and not (text or "").startswith(name + "(")


def unexplained(name: str, value: object, home: str) -> Iterator[str]:
    """The public thing `value`, known as `name`, and its methods, as far as they have no docstring.

    What comes from elsewhere (``queue.Full``) is explained there. A constant has no docstring.
    """
    if getattr(value, "__module__", home).partition(".")[0] != home:
        return
    if inspect.isroutine(value) and not explained(value.__doc__, value.__name__):
        yield name
    if not isinstance(value, type):
        return
    # A class inherits the attribute, but not the explanation.
    if not explained(value.__doc__ if "__doc__" in vars(value) else None, value.__name__):
        yield name
    for attribute, member in vars(value).items():
        if attribute.startswith("_"):
            continue
        if inspect.isroutine(member) or isinstance(member, METHODS):
            # A method that does what the base class says needs no text of its own.
            texts = (
                vars(base)[attribute].__doc__ for base in value.__mro__ if attribute in vars(base)
            )
            if not any(texts):
                yield f"{name}.{attribute}"


def problems(package: str) -> list[str]:
    """What is wrong with the public names of `package`, a line each."""
    wrong = []
    for module_name in public_modules(importlib.import_module(package)):
        module = importlib.import_module(module_name)
        if not explained(module.__doc__, module_name):
            wrong.append(f"{module_name}: no docstring")
        looks_public = public_names(module)
        declared: object = getattr(module, "__all__", None)
        if declared is None:
            if looks_public:
                wrong.append(f"{module_name}: no __all__, but {', '.join(sorted(looks_public))}")
            continue
        if not isinstance(declared, tuple):
            wrong.append(f"{module_name}: __all__ is no tuple")
            continue
        missing = [name for name in declared if not hasattr(module, name)]
        wrong += [f"{module_name}: __all__ names {name}, which doesn't exist" for name in missing]
        wrong += [
            f"{module_name}: {name} is neither in __all__ nor starts with _"
            for name in sorted(looks_public.difference(declared))
        ]
        if len(set(declared)) != len(declared):
            wrong.append(f"{module_name}: __all__ names something twice")
        for name in declared:
            if name not in missing:
                found = unexplained(name, getattr(module, name), package)
                wrong += [f"{module_name}.{without}: no docstring" for without in found]
    return wrong


def test_the_public_names_of_graftlet() -> None:
    wrong = problems("graftlet")
    assert not wrong, "\n" + "\n".join(wrong)


def test_the_documented_modules_are_there() -> None:
    there = public_modules(importlib.import_module("graftlet"))
    documented = {"graftlet"} | {
        f"graftlet.{name}"
        for name in ("event", "local", "lock", "patch", "pool", "queue", "testing")
    }
    assert documented <= set(there)


def test_importing_all_of_it_makes_no_hub_and_opens_nothing() -> None:
    out = run_ok(
        """
        import importlib, os, pkgutil
        before = os.listdir("/proc/self/fd")
        import graftlet
        for module in pkgutil.walk_packages(graftlet.__path__, "graftlet."):
            if not module.name.rpartition(".")[2].startswith(("__", "_children", "sitecustomize")):
                importlib.import_module(module.name)
        from graftlet.core._current import hub_or_none
        print(hub_or_none(), os.listdir("/proc/self/fd") == before)
        """
    )
    assert out == "None True\n"


# ---- Packages that must not pass --------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of an empty package that can be imported; removed afterwards."""
    name = "package_with_names"
    (tmp_path / name).mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield name
    for module in [key for key in sys.modules if key.partition(".")[0] == name]:
        del sys.modules[module]


def write(tmp_path: Path, package: str, files: Mapping[str, str]) -> None:
    for relative, source in {"__init__.py": '"""Face."""\n', **files}.items():
        path = tmp_path / package / relative
        path.parent.mkdir(exist_ok=True)
        path.write_text(source, encoding="utf-8")
    importlib.invalidate_caches()


def test_sound_names_pass(tmp_path: Path, package: str) -> None:
    write(
        tmp_path,
        package,
        {
            "__init__.py": (
                '"""Face."""\n'
                "from __future__ import annotations\n"
                "import sys\n"
                "from queue import Full\n"
                f"from {package}._inner import Thing, act\n"
                f"from {package} import floor\n"
                "__version__ = '1'\nLIMIT = 3\n"
                "__all__ = ('LIMIT', 'Full', 'Thing', '__version__', 'act')\n"
            ),
            "_inner.py": (
                "from enum import Enum\n"
                "def act(): 'Acts.'\n"
                "class Base:\n"
                "    'A base.'\n"
                "    def act(self): 'Acts.'\n"
                "class Thing(Base):\n"
                "    'A thing.'\n"
                "    __slots__ = ('slot',)\n"
                "    limit = 3\n"
                "    def act(self): ...\n"
                "    def _hidden(self): ...\n"
                "    def __len__(self): return 0\n"
            ),
            "floor/__init__.py": '"""A floor without public names."""\n',
            "floor/_inner.py": "def anything(): ...\n",
        },
    )
    assert problems(package) == []


DOCUMENTED = '"""A module."""\n'


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("__all__ = ()\n", ".face: no docstring"),
        (DOCUMENTED + "NAME = 1\n", ".face: no __all__, but NAME"),
        (DOCUMENTED + "__all__ = []\n", ".face: __all__ is no tuple"),
        (DOCUMENTED + "__all__ = ('gone',)\n", ".face: __all__ names gone, which doesn't exist"),
        (DOCUMENTED + "N = 1\n__all__ = ('N', 'N')\n", ".face: __all__ names something twice"),
        (
            DOCUMENTED + "from typing import Final\n__all__ = ()\n",
            ".face: Final is neither in __all__ nor starts with _",
        ),
        (DOCUMENTED + "def f(): ...\n__all__ = ('f',)\n", ".face.f: no docstring"),
        (DOCUMENTED + "class C: ...\n__all__ = ('C',)\n", ".face.C: no docstring"),
        (
            DOCUMENTED + "class C(Exception): ...\n__all__ = ('C',)\n",
            ".face.C: no docstring",
        ),
        (
            DOCUMENTED
            + "import dataclasses\n@dataclasses.dataclass\nclass C:\n    x: int\n__all__ = ('C',)\n",
            ".face.C: no docstring",
        ),
        (
            DOCUMENTED + "class C:\n    'C.'\n    def act(self): ...\n__all__ = ('C',)\n",
            ".face.C.act: no docstring",
        ),
        (
            DOCUMENTED
            + "class C:\n    'C.'\n    @property\n    def p(self): ...\n__all__ = ('C',)\n",
            ".face.C.p: no docstring",
        ),
        (
            DOCUMENTED
            + "class C:\n    'C.'\n    @classmethod\n    def new(cls): ...\n__all__ = ('C',)\n",
            ".face.C.new: no docstring",
        ),
    ],
)
@pytest.mark.parametrize("where", ["face.py", "face/__init__.py"])
def test_a_fault_is_found(
    tmp_path: Path, package: str, where: str, source: str, complaint: str
) -> None:
    write(tmp_path, package, {where: source})
    assert problems(package) == [package + complaint]

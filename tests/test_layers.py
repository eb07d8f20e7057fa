"""One way down, no way up: the floors of the house, checked on the source that is installed.

Nothing is imported here, only parsed: an import inside a function, under ``TYPE_CHECKING`` or in a
branch for another Python version counts like any other. The checks are functions of a directory, and
the second half of this file runs them on small trees that break the rules: a check that cannot fail
proves nothing.
"""

from __future__ import annotations

import ast
import importlib.util
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PACKAGE: Final = "graftlet"

# From the bottom up. What lies directly in the package (`__init__`, `__main__`, the thin modules
# `pool`, `event`, ...) is the public face above `launch`; `testing`, for users' tests, is above all.
FLOORS: Final = ("core", "sync", "io", "patch", "observe", "ext", "launch", "public", "testing")

SWITCHING_FLOOR: Final = "core"

ORIGINALS: Final = f"{PACKAGE}.core._original"
UNTOUCHED: Final = {
    "time": {"sleep"},
    "_thread": {"allocate", "allocate_lock", "lock", "RLock"},
    "select": {"select", "poll", "epoll", "devpoll", "kqueue"},
}


@dataclass(frozen=True)
class Module:
    """A source file of the package, parsed."""

    name: str
    path: Path
    tree: ast.Module
    is_package: bool

    def at(self, node: ast.AST) -> str:
        """Where `node` stands, as an editor wants it."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


@dataclass(frozen=True)
class Arrow:
    """One import of one module of the package by another."""

    source: str
    target: str
    where: str
    when_typing: bool


def load(root: Path) -> dict[str, Module]:
    """Every module of the package in the directory `root`, by its dotted name."""
    modules = {}
    for path in sorted(root.rglob("*.py")):
        parts = [PACKAGE, *path.relative_to(root).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        modules[name] = Module(name, path, tree, is_package)
    return modules


def floor_of(name: str, modules: Mapping[str, Module]) -> str:
    """The floor that the module `name` belongs to, or its first name if there is no such floor."""
    first = name.split(".")[1] if "." in name else ""
    if first in FLOORS and first != "public":
        return first
    top = modules.get(f"{PACKAGE}.{first}")
    return first if top is not None and top.is_package else "public"


# ---- Imports ----------------------------------------------------------------------------------


def is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def statements(
    node: ast.AST, *, when_typing: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom | ast.Call, bool]]:
    """Every import below `node` and every call, each with whether only a type checker sees it."""
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.Call)):
        yield node, when_typing
    if isinstance(node, ast.If) and is_type_checking(node.test):
        for child in node.body:
            yield from statements(child, when_typing=True)
        for child in node.orelse:
            yield from statements(child, when_typing=when_typing)
        return
    for below in ast.iter_child_nodes(node):
        yield from statements(below, when_typing=when_typing)


def text_argument(call: ast.Call, position: int) -> str | None:
    """The argument at `position` if it is a string that stands there literally."""
    if len(call.args) > position:
        argument = call.args[position]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            return argument.value
    return None


def called_name(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""


def imported(module: Module, node: ast.Import | ast.ImportFrom | ast.Call) -> Iterator[list[str]]:
    """What `node` imports: for each name the candidates, the most precise first."""
    match node:
        case ast.Import(names=names):
            for alias in names:
                yield [alias.name]
        case ast.ImportFrom(module=base, names=names, level=level):
            if level:
                package = module.name.split(".")
                climb = level - 1 if module.is_package else level
                above = package[: len(package) - climb]
                base = ".".join([*above, base] if base else above)
            assert base is not None  # only a relative import can leave it out
            for alias in names:
                # A submodule, or a name that the package's own __init__ defines.
                yield [f"{base}.{alias.name}", base]
        case ast.Call() if called_name(node) in {"import_module", "__import__"}:
            name = text_argument(node, 0)
            if name is not None:
                yield [name]


def arrows(modules: Mapping[str, Module]) -> list[Arrow]:
    """Every import inside the package.

    That Python runs a package's ``__init__`` before its submodules is no arrow: else each floor would
    import the public face.
    """
    found = []
    for module in modules.values():
        for node, when_typing in statements(module.tree):
            for candidates in imported(module, node):
                target = next((name for name in candidates if name in modules), candidates[-1])
                if target == PACKAGE or target.startswith(PACKAGE + "."):
                    found.append(Arrow(module.name, target, module.at(node), when_typing))
    return found


# ---- The checks: each returns what is wrong, a line each --------------------------------------


def stray_modules(modules: Mapping[str, Module]) -> list[str]:
    """Packages that belong to no floor."""
    return [
        f"{module.path}: {name} is on no floor; there are {', '.join(FLOORS)}"
        for name, module in modules.items()
        if floor_of(name, modules) not in FLOORS
    ]


def upward_arrows(modules: Mapping[str, Module]) -> list[str]:
    """Imports from a floor above, whether or not they are ever executed."""
    wrong = []
    for arrow in arrows(modules):
        source, target = floor_of(arrow.source, modules), floor_of(arrow.target, modules)
        if source not in FLOORS or target not in FLOORS:
            continue  # stray_modules says so
        if FLOORS.index(target) > FLOORS.index(source):
            wrong.append(
                f"{arrow.where}: {arrow.source} ({source}) imports {arrow.target} ({target}, above)"
            )
    return wrong


def cycles(modules: Mapping[str, Module]) -> list[str]:
    """Modules that import each other, over however many steps; one line for each ring."""
    graph: dict[str, dict[str, str]] = {name: {} for name in modules}
    for arrow in arrows(modules):
        if not arrow.when_typing and arrow.target in graph:
            graph[arrow.source].setdefault(arrow.target, arrow.where)

    wrong: list[str] = []
    done: set[str] = set()
    for start, targets in graph.items():
        if start in done:
            continue
        # Depth first, with the path on an explicit stack: the ring is what lies on it.
        path: list[str] = [start]
        branches = [iter(targets)]
        while branches:
            target = next(branches[-1], None)
            if target is None:
                branches.pop()
                done.add(path.pop())
            elif target in path:
                ring = [*path[path.index(target) :], target]
                where = graph[path[-1]][target]
                wrong.append(f"{where}: a ring of imports: {' -> '.join(ring)}")
            elif target not in done:
                path.append(target)
                branches.append(iter(graph[target]))
    return wrong


def stray_switches(modules: Mapping[str, Module]) -> list[str]:
    """Uses of a greenlet's ``switch`` outside the floor that has the one trap."""
    wrong = []
    for name, module in modules.items():
        if floor_of(name, modules) == SWITCHING_FLOOR:
            continue
        for node in ast.walk(module.tree):
            named = isinstance(node, ast.Attribute) and node.attr == "switch"
            fetched = (
                isinstance(node, ast.Call)
                and called_name(node) == "getattr"
                and text_argument(node, 1) == "switch"
            )
            if named or fetched:
                wrong.append(f"{module.at(node)}: {name} switches; only {SWITCHING_FLOOR} may")
    return wrong


def used(node: ast.AST) -> tuple[str, str]:
    """The name and the attribute that `node` reads from it, or two empty strings."""
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        if isinstance(node.value, ast.Name):
            return node.value.id, node.attr
    elif isinstance(node, ast.Call) and called_name(node) == "getattr" and node.args:
        owner, attribute = node.args[0], text_argument(node, 1)
        if isinstance(owner, ast.Name) and attribute:
            return owner.id, attribute
    return "", ""


def stray_originals(modules: Mapping[str, Module]) -> list[str]:
    """Untouched blocking functions that are reached for outside the one module that holds them."""
    wrong = []
    for name, module in modules.items():
        if name == ORIGINALS:
            continue
        aliases: dict[str, str] = {}
        for node, when_typing in statements(module.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name in UNTOUCHED:
                        aliases[alias.asname or alias.name] = alias.name
            elif isinstance(node, ast.ImportFrom) and not node.level and not when_typing:
                blocking = UNTOUCHED.get(node.module or "", set())
                wrong += [
                    f"{module.at(node)}: {name} imports {node.module}.{alias.name};"
                    f" only {ORIGINALS} may"
                    for alias in node.names
                    if alias.name in blocking or (blocking and alias.name == "*")
                ]
        for use in ast.walk(module.tree):
            owner, attribute = used(use)
            if owner in aliases and attribute in UNTOUCHED[aliases[owner]]:
                wrong.append(
                    f"{module.at(use)}: {name} uses {aliases[owner]}.{attribute};"
                    f" only {ORIGINALS} may"
                )
    return wrong


def thick_faces(modules: Mapping[str, Module]) -> list[str]:
    """Public modules with more than a docstring, imports and assignments in them."""
    thin = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    wrong = []
    for name, module in modules.items():
        if floor_of(name, modules) != "public" or name == f"{PACKAGE}.__main__":
            continue
        for node in module.tree.body:
            is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if not is_text and not isinstance(node, thin):
                wrong.append(f"{module.at(node)}: {name} is a public face: names only, no logic")
    return wrong


# ---- The real house ---------------------------------------------------------------------------


def installed() -> Path:
    """The directory of the package that the tests import; it isn't imported for that."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None, f"{PACKAGE} is not installed"
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations)))


@pytest.fixture(scope="module")
def house() -> dict[str, Module]:
    return load(installed())


def no(wrong: Iterable[str]) -> None:
    lines = sorted(wrong)
    assert not lines, "\n" + "\n".join(lines)


def test_the_house_stands(house: dict[str, Module]) -> None:
    assert {PACKAGE, ORIGINALS} <= set(house), sorted(house)
    assert any(floor_of(arrow.target, house) == "core" for arrow in arrows(house))


def test_every_module_is_on_a_floor(house: dict[str, Module]) -> None:
    no(stray_modules(house))


def test_no_arrow_leads_up(house: dict[str, Module]) -> None:
    no(upward_arrows(house))


def test_no_two_modules_import_each_other(house: dict[str, Module]) -> None:
    no(cycles(house))


def test_only_the_core_switches(house: dict[str, Module]) -> None:
    no(stray_switches(house))


def test_the_originals_are_in_one_place(house: dict[str, Module]) -> None:
    no(stray_originals(house))


def test_the_public_face_is_thin(house: dict[str, Module]) -> None:
    no(thick_faces(house))


# ---- Houses that must not stand ---------------------------------------------------------------


def build(root: Path, files: Mapping[str, str]) -> dict[str, Module]:
    """A package of `files`, relative path to source; each directory gets an empty ``__init__``."""
    for relative, source in {"__init__.py": "", **files}.items():
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
        package = path.parent
        while package != root:
            (package / "__init__.py").touch()
            package = package.parent
    return load(root)


SOUND: Final = {
    "__init__.py": '"""Face."""\nfrom graftlet.core._greenlet import Greenlet\n__all__ = ("Greenlet",)\n',
    "__main__.py": "from graftlet.launch import main\nif __name__ == '__main__':\n    main()\n",
    "queue.py": "from graftlet.sync._queue import Queue\n__all__ = ('Queue',)\n",
    "core/__init__.py": "from graftlet.core import _greenlet, _hub\n",
    "core/_original.py": "from time import sleep\nimport select\nepoll = select.epoll\n",
    "core/_hub.py": (
        "from graftlet.core import _original\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from graftlet.core._greenlet import Greenlet\n"
        "def run(job): job.raw.switch()\n"
    ),
    "core/_greenlet.py": "import graftlet.core._hub\nfrom . import _original\nclass Greenlet: ...\n",
    "sync/_queue.py": "from graftlet.core._hub import run\nimport time\ntime.monotonic()\n",
    "io/_poll.py": "from select import EPOLLIN\nimport select\nselect.EPOLLOUT\n",
    "patch/_time.py": "import time\nfrom graftlet.core._original import sleep\ntime.sleep = sleep\n",
    "launch/__init__.py": "from graftlet.patch import _time\ndef main(): ...\n",
    "testing/__init__.py": "import graftlet\nfrom graftlet.queue import Queue\n",
}
CHECKS: Final = (
    stray_modules,
    upward_arrows,
    cycles,
    stray_switches,
    stray_originals,
    thick_faces,
)


def test_a_sound_house_passes(tmp_path: Path) -> None:
    modules = build(tmp_path, SOUND)
    for check in CHECKS:
        no(check(modules))


def test_arrows_know_a_submodule_from_a_name(tmp_path: Path) -> None:
    modules = build(
        tmp_path,
        {
            "core/_a.py": "",
            "core/_b.py": "from graftlet.core import _a, NAME\nfrom .. import core\nimport os\n",
        },
    )
    assert [(arrow.source, arrow.target) for arrow in arrows(modules)] == [
        ("graftlet.core._b", "graftlet.core._a"),
        ("graftlet.core._b", "graftlet.core"),
        ("graftlet.core._b", "graftlet.core"),
    ]


@pytest.mark.parametrize(
    "source",
    [
        "import graftlet.sync._lock",
        "import graftlet.sync._lock as lock",
        "from graftlet.sync import _lock",
        "from graftlet.sync._lock import Lock",
        "from graftlet.sync import *",
        "from ..sync import _lock",
        "from .. import sync",
        "def late():\n    from graftlet.sync import _lock",
        "class C:\n    def late(self):\n        import graftlet.sync._lock",
        "try:\n    pass\nexcept ValueError:\n    import graftlet.sync._lock",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from graftlet.sync import _lock",
        "import typing\nif typing.TYPE_CHECKING:\n    from graftlet.sync import _lock",
        "import importlib\nimportlib.import_module('graftlet.sync._lock')",
        "__import__('graftlet.sync._lock')",
        "import graftlet",
        "from graftlet import spawn",
        "from graftlet.testing import FakeClock",
        "from graftlet.queue import Queue",
    ],
)
def test_an_arrow_up_is_found(tmp_path: Path, source: str) -> None:
    modules = build(tmp_path, {**SOUND, "sync/_lock.py": "", "core/_extra.py": source + "\n"})
    wrong = upward_arrows(modules)
    assert len(wrong) == 1
    assert "graftlet.core._extra (core) imports graftlet" in wrong[0]
    assert "above)" in wrong[0]


@pytest.mark.parametrize(("low", "high"), list(itertools.pairwise(FLOORS)))
def test_every_floor_has_a_ceiling(tmp_path: Path, low: str, high: str) -> None:
    def path(floor: str) -> str:
        return "_face.py" if floor == "public" else f"{floor}/_module.py"

    def name(floor: str) -> str:
        return "graftlet._face" if floor == "public" else f"graftlet.{floor}._module"

    down = build(tmp_path / "down", {path(high): f"import {name(low)}\n", path(low): ""})
    assert upward_arrows(down) == []
    up = build(tmp_path / "up", {path(low): f"import {name(high)}\n", path(high): ""})
    assert len(upward_arrows(up)) == 1


@pytest.mark.parametrize(
    "files",
    [
        {"core/_a.py": "import graftlet.core._b", "core/_b.py": "import graftlet.core._a"},
        {"core/_a.py": "from . import _b", "core/_b.py": "def f():\n    from . import _a"},
        {
            "core/_a.py": "import graftlet.core._b",
            "core/_b.py": "import graftlet.core._c",
            "core/_c.py": "import graftlet.core._a",
        },
        {
            "core/__init__.py": "from . import _a\nN = 1",
            "core/_a.py": "from graftlet.core import N",
        },
        {"core/_a.py": "import graftlet.core._a"},
    ],
)
def test_a_ring_is_found(tmp_path: Path, files: dict[str, str]) -> None:
    wrong = cycles(build(tmp_path, files))
    assert len(wrong) == 1
    assert "a ring of imports: graftlet.core" in wrong[0]


def test_a_ring_of_one_is_found_once(tmp_path: Path) -> None:
    files = {"core/_a.py": "from . import _b", "core/_b.py": "from . import _b"}
    assert len(cycles(build(tmp_path, files))) == 1


def test_every_ring_is_found_and_no_diamond(tmp_path: Path) -> None:
    modules = build(
        tmp_path,
        {
            "core/_top.py": "from . import _left, _right",
            "core/_left.py": "from . import _bottom",
            "core/_right.py": "from . import _bottom, _self",
            "core/_bottom.py": "",
            "core/_self.py": "from . import _other",
            "core/_other.py": "from . import _self",
            "io/_a.py": "from . import _b",
            "io/_b.py": "from . import _a",
        },
    )
    rings = [line.partition(": a ring of imports: ")[2] for line in cycles(modules)]
    assert sorted(rings) == [
        "graftlet.core._other -> graftlet.core._self -> graftlet.core._other",
        "graftlet.io._a -> graftlet.io._b -> graftlet.io._a",
    ]


def test_an_import_for_typing_makes_no_ring(tmp_path: Path) -> None:
    typing_only = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import _b\n"
    modules = build(tmp_path, {"core/_a.py": typing_only, "core/_b.py": "from . import _a\n"})
    assert cycles(modules) == []
    modules = build(tmp_path, {"core/_a.py": typing_only + "else:\n    from . import _b\n"})
    assert len(cycles(modules)) == 1


@pytest.mark.parametrize("source", ["hub.switch()", "s = hub.switch", "getattr(hub, 'switch')()"])
@pytest.mark.parametrize("path", ["sync/_lock.py", "io/_wait.py", "testing/_clock.py", "_face.py"])
def test_a_switch_outside_the_core_is_found(tmp_path: Path, path: str, source: str) -> None:
    wrong = stray_switches(build(tmp_path, {path: f"def wait(hub):\n    {source}\n"}))
    assert len(wrong) == 1
    assert f"{path}:2" in wrong[0]


@pytest.mark.parametrize(
    "source",
    [
        "from time import sleep",
        "from time import monotonic, sleep as nap",
        "from time import *",
        "import time\ntime.sleep(1)",
        "import time as clock\nnap = clock.sleep",
        "import time\nnap = getattr(time, 'sleep')",
        "def late():\n    from _thread import allocate_lock",
        "import _thread\nlock = _thread.allocate_lock()",
        "from select import epoll",
        "from select import poll",
        "import select\nselect.select([], [], [], 1)",
    ],
)
@pytest.mark.parametrize("path", ["core/_hub.py", "patch/_time.py", "testing/_clock.py"])
def test_an_original_outside_its_place_is_found(tmp_path: Path, path: str, source: str) -> None:
    wrong = stray_originals(build(tmp_path, {path: source + "\n"}))
    assert len(wrong) == 1
    assert "only graftlet.core._original may" in wrong[0]
    assert stray_originals(build(tmp_path / "right", {"core/_original.py": source})) == []


def test_a_package_on_no_floor_is_found(tmp_path: Path) -> None:
    wrong = stray_modules(build(tmp_path, {"utils/__init__.py": "", "core/_a.py": ""}))
    assert len(wrong) == 1
    assert "graftlet.utils is on no floor" in wrong[0]


@pytest.mark.parametrize("source", ["def f(): ...", "class C: ...", "for i in (): ...", "f()"])
def test_logic_in_the_public_face_is_found(tmp_path: Path, source: str) -> None:
    assert len(thick_faces(build(tmp_path, {"queue.py": source}))) == 1
    assert thick_faces(build(tmp_path / "launch", {"launch/__init__.py": source})) == []

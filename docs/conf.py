"""Sphinx configuration: strict, offline, and only public names.

Nothing is fetched while building (no intersphinx): references into the standard library are shown
without a link. A reference to anything of graftlet must lead to a documented place, by whichever of
its names it was made; what has no public name has no business in a public signature, and fails.
"""

from __future__ import annotations

import builtins
import collections.abc
import contextlib
import doctest
import faulthandler
import importlib
import re
import sys
import types
import typing
from typing import Any

import graftlet

project = "graftlet"
author = copyright = "the graftlet developers"
version = release = graftlet.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest"]
exclude_patterns = ["_build", "figures/*.md"]  # tables that a page includes
nitpicky = True

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"graftlet {release}"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 80

# An example that waits for good must end as a failure that shows where.
faulthandler.dump_traceback_later(240, exit=True)

doctest_default_flags = doctest.ELLIPSIS | doctest.DONT_ACCEPT_TRUE_FOR_1
trim_doctest_flags = True

# The modules of the API reference; where an object has several names the first one is its place.
DOCUMENTED = (
    "graftlet.pool",
    "graftlet.event",
    "graftlet.lock",
    "graftlet.queue",
    "graftlet.local",
    "graftlet.patch",
    "graftlet.testing",
    "graftlet",
)
STDLIB = "|".join(map(re.escape, sys.stdlib_module_names | set(dir(builtins))))
nitpick_ignore_regex = [
    (r"py:.*", rf"({STDLIB})(\..*)?"),
    (r"py:class", r"graftlet\.patch\._changes\.Change"),  # what an adapter is made of, not public
]

# What an annotation may name without its module, when it is imported for type checkers only.
BARE = {*collections.abc.__all__, *types.__all__, *typing.__all__}
PLACEHOLDERS = (typing.TypeVar, typing.ParamSpec)


def public_places() -> dict[int, str]:
    """The documented name of each public object, by the object's identity."""
    places: dict[int, str] = {}
    for module_name in DOCUMENTED:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            places.setdefault(id(getattr(module, name)), f"{module_name}.{name}")
    return places


def look_up(dotted: str) -> tuple[Any, str] | None:
    """The object that `dotted` begins with (a module's member), and the attributes left over."""
    parts = dotted.split(".")
    for length in range(len(parts) - 1, 0, -1):
        with contextlib.suppress(ImportError):
            module = importlib.import_module(".".join(parts[:length]))
            if hasattr(module, parts[length]):
                return getattr(module, parts[length]), "".join(f".{p}" for p in parts[length + 1 :])
            return None
    return None


def placeholders() -> set[str]:
    """The names of all type variables in graftlet."""
    return {
        name
        for module_name, module in list(sys.modules.items())
        if module_name.partition(".")[0] == "graftlet"
        for name, value in vars(module).items()
        if isinstance(value, PLACEHOLDERS)
    }


def find_public(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Resolve a reference that Sphinx could not: by another name, or to nothing that needs a link."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    if target in BARE or target.partition(".")[0] in placeholders():
        return contnode
    names = [target] if target.startswith("graftlet.") else [f"{m}.{target}" for m in DOCUMENTED]
    places = public_places()
    for name in names:
        found = look_up(name)
        if found is None:
            continue
        value, rest = found
        if isinstance(value, PLACEHOLDERS):
            return contnode
        place = places.get(id(value))
        if place is not None and place + rest != target:
            domain = env.get_domain("py")
            return domain.resolve_xref(
                env, node["refdoc"], app.builder, "obj", place + rest, node, contnode
            )
    return None


def setup(app: Any) -> None:
    app.connect("missing-reference", find_public)

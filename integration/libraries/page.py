"""Makes ``docs/libraries.md`` from what the tests of the libraries say of themselves.

Rule: the page has no fact of its own. Each ``Library(...)`` in a file of tests is a row; it is read from the
source, so that the page can be made where none of the libraries is installed.

    python -m integration.libraries.page            write the page
    python -m integration.libraries.page --versions keep the versions that are installed, and write it

The second one belongs at the end of a run of `tox -e py313-integration` that passed, in its environment.
"""

from __future__ import annotations

import ast
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
PAGE: Final = HERE.parents[1] / "docs" / "libraries.md"

#: The version of each library that was tested last.
TESTED: Final = HERE / "tested.txt"
#: What `cost.py` has measured last.
COSTS: Final = HERE / "costs.txt"

#: The version of what has none.
STANDARD: Final = "the standard library's"

HEAD: Final = """\
# Libraries

<!-- Made by integration/libraries/page.py from the tests in that directory. -->

These libraries run unmodified. Each is tested as it comes from PyPI, against the real server, with many
greenlets at once: the results are right, the waits overlap, nobody is held up, nothing is left behind. So it is
with faults: connections that are killed, reset or fall silent, servers that are restarted, pools that are exhausted,
time-outs of the library's own, greenlets that are killed in the middle of a query.

Nearly everything written in Python is cooperative because the sockets and threads below it are. A library that
waits inside its own C code needs an *adapter*. graftlet brings some; they are put in place when the
library is imported, before patching or after, and `patch_all(drivers=False)` leaves them out.

| library | tested | how it becomes cooperative | what to know |
|---|---|---|---|
"""

FOOT: Final = """
## Any other library that blocks in C

Three lines have a library's functions, or methods of its Python classes, carried out in native threads:

```python
import graftlet.ext

graftlet.ext.offload_module("ibm_db", "connect", "exec_immediate", "fetch_tuple")
```

They may stand anywhere, before the library is imported or after. Without names all public functions of the module
are meant; a library that must always be called from one and the same thread gets `threads=1`. For a
single call there is {func}`graftlet.offload`. Methods of a class that is written in C can't be replaced;
{func}`graftlet.ext.offload_module` says so.

## What an adapter costs

One small query, one thread, in µs (CPython 3.13, one Linux machine, servers on the same one; only the ratios
count). `python -m integration.libraries.cost` measures it.

| | plain | under graftlet |
|---|---|---|
"""

END: Final = """
psycopg2, psycopg and pyOpenSSL wait in the hub, as sockets do. A call that is carried out in a native thread
(mysqlclient, sqlite3, `offload_module`; of psycopg2 each `COPY`, however long, and each call of a large object)
costs two switches between native threads. For a database in a file or across a network that is a small part; a
program that asks an in-memory SQLite database for single rows, all day, may want `patch_all(drivers=False)`.
"""


def rows(directory: Path) -> list[dict[str, str]]:
    """What each ``Library(...)`` in the directory says, sorted by name."""
    found: list[dict[str, str]] = []
    for path in sorted(directory.glob("test_*.py")):
        found += [
            {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "Library"
        ]
    return sorted(found, key=lambda row: row["name"].lower())


def packages(directory: Path) -> list[str]:
    """What the libraries are called on PyPI."""
    return sorted({name for row in rows(directory) for name in names(row["package"])})


def names(package: str) -> list[str]:
    """Those of one library."""
    return [name.strip() for name in package.split(",") if name]


def data(path: Path) -> list[str]:
    """The lines of a file without its comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def versions() -> dict[str, str]:
    """By package."""
    pairs = (line.partition("==") for line in data(TESTED))
    return {name: version for name, _, version in pairs}


def keep_versions(directory: Path) -> None:
    """What is installed here has been tested."""
    lines = [f"{name}=={metadata.version(name)}\n" for name in packages(directory)]
    head = "# On Python {}.{}. Made by: python -m integration.libraries.page --versions\n"
    TESTED.write_text(head.format(*sys.version_info) + "".join(lines), encoding="utf-8")


def page(directory: Path, tested: dict[str, str]) -> str:
    """The whole page."""
    lines = []
    for row in rows(directory):
        against = f", against {row['server']}" if row["server"] else ""
        version = ", ".join(tested[name] for name in names(row["package"]))
        lines.append(
            f"| {row['name']} | {version or STANDARD}{against} | {row['how']} | {row['know']} |\n"
        )
    costs = [f"| {line} |\n" for line in data(COSTS)]
    return HEAD + "".join(lines) + FOOT + "".join(costs) + END


if __name__ == "__main__":
    if sys.argv[1:] == ["--versions"]:
        keep_versions(HERE)
    PAGE.write_text(page(HERE, versions()), encoding="utf-8")

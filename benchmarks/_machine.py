"""What a figure can't be read without: the machine, the versions, and how busy it was."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
from typing import Any

PACKAGES = ("graftlet", "greenlet", "gevent", "eventlet", "uvloop", "urllib3")


def described() -> dict[str, Any]:
    """Processor, kernel, Python, the packages' versions, and the load before the run."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": platform.python_compiler(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "load": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        if importlib.util.find_spec(name) is None:
            return None
        # On the path without being installed, as graftlet is while it is worked on.
        version: str | None = getattr(importlib.import_module(name), "__version__", None)
        return version

"""Run a script under eventlet, which brings no launcher of its own.

Usage: python _eventlet_launcher.py program.py [arguments]. Patches first, as eventlet's
documentation asks, and then runs the program as `__main__`.
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys


def main() -> None:
    importlib.import_module("eventlet").monkey_patch()
    del sys.argv[0]
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()

"""Runs the installed interpreter's own test suite under graftlet. See README.md beside this file.

The code is in the package `conformance`; this is only the file that people and tox start.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # instead of this directory, whose scripts are not modules
    if sys.argv[1:] == ["--worker"]:
        from integration.stdlib.conformance import worker

        sys.exit(worker.main())
    from integration.stdlib.conformance import cli

    sys.exit(cli.main(Path(__file__).resolve()))

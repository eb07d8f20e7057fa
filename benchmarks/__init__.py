"""graftlet measured beside gevent, eventlet, plain threads and the floor, on unmodified programs.

`python -m benchmarks` runs everything, `--only echo` a part of it; see docs/performance.md.

The house, from the bottom up:

    programs/       what is measured: ordinary scripts that print one line of JSON
    floor/          the same echo in C
    _runtimes.py    how a program is started under each runtime, and what proves that it was
    _cases.py       the table of cases: program, sizes, the right answer, the goal
    _statistics.py  medians, spread, ratios pair by pair
    _runner.py      starts the programs in turn and checks what they print
    _report.py      tables and JSON; _drawing.py the SVG (needs matplotlib)
    counts.py       instruction counts against recorded figures, for CI
"""

"""The parent's side of the conformance run: everything that does not happen in the judged process.

Rule: nothing here is imported by `driver.py` or `prove.py`, and nothing here imports graftlet or the
`test` package. So the judge runs on any Python >= 3.10 and can judge any other interpreter.

One way down: cli > report, pool > verdict, expected, worker > job > watch > isolate, target > files,
records.
"""

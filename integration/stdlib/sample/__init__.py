"""Badly behaved tests, for `test_runner.py`: each way to end that the runner must be able to name."""

"""A file whose tests pass and whose process does not end well."""

from __future__ import annotations

import atexit
import os
import unittest


class A(unittest.TestCase):
    def test_1(self) -> None:
        atexit.register(os._exit, 5)

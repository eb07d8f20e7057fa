"""Tests and fixtures that never end, in Python, in C and in a child that left the session."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import unittest


def wait_here() -> None:
    while True:
        time.sleep(1000)


class A(unittest.TestCase):
    def test_1_before(self) -> None:
        pass

    def test_2_hangs(self) -> None:
        threading.Thread(target=wait_here, daemon=True).start()
        wait_here()

    def test_3_child_hangs(self) -> None:
        command = [sys.executable, "-c", "import time; time.sleep(1000)", "sample-child"]
        subprocess.run(command, start_new_session=True, check=True)

    def test_4_after(self) -> None:
        pass


class B(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        wait_here()

    def test_1(self) -> None:
        pass

    def test_2(self) -> None:
        pass


class C(unittest.TestCase):
    @classmethod
    def tearDownClass(cls) -> None:
        wait_here()

    def test_1(self) -> None:
        pass


class D(unittest.TestCase):
    def test_1_last(self) -> None:
        pass

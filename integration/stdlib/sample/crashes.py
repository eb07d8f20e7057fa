"""Tests that end the process, or leave it, or leave something behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import unittest


class A(unittest.TestCase):
    def test_1_killed(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def test_2_exits(self) -> None:
        os._exit(3)

    def test_3_interrupted(self) -> None:
        raise KeyboardInterrupt

    def test_4_forks(self) -> None:
        child = os.fork()
        if not child:
            raise ValueError("in the child")
        os.waitpid(child, 0)

    def test_5_closes_everything(self) -> None:
        os.closerange(3, 256)

    def test_6_leaves_a_process(self) -> None:
        code = "import time; time.sleep(1000)"
        subprocess.Popen([sys.executable, "-c", code, "sample-child"], start_new_session=True)

    def test_7_last(self) -> None:
        pass

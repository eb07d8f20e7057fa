"""Every outcome that unittest knows."""

from __future__ import annotations

import unittest


class Plain(unittest.TestCase):
    def test_ok(self) -> None:
        pass

    def test_fail(self) -> None:
        self.fail("on purpose")

    def test_error(self) -> None:
        raise ValueError("on purpose")

    def test_exit(self) -> None:
        raise SystemExit(3)

    def test_skip(self) -> None:
        self.skipTest("on purpose")

    @unittest.expectedFailure
    def test_expected_failure(self) -> None:
        self.fail("on purpose")

    @unittest.expectedFailure
    def test_unexpected_success(self) -> None:
        pass

    def test_subtests(self) -> None:
        for number in range(3):
            with self.subTest(number=number):
                assert number != 1


class SetUpFails(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        raise OSError("on purpose")

    def test_one(self) -> None:
        pass

    def test_two(self) -> None:
        pass


class SetUpSkips(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        raise unittest.SkipTest("on purpose")

    def test_one(self) -> None:
        pass


class TearDownFails(unittest.TestCase):
    @classmethod
    def tearDownClass(cls) -> None:
        raise OSError("on purpose")

    def test_one(self) -> None:
        pass


class Twice(unittest.TestCase):
    def test_same(self) -> None:
        pass


def load_tests(
    loader: unittest.TestLoader, tests: unittest.TestSuite, pattern: str | None
) -> unittest.TestSuite:
    tests.addTests(loader.loadTestsFromTestCase(Twice))
    return tests

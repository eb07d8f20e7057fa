"""A file that skips itself."""

import unittest

raise unittest.SkipTest("on purpose")

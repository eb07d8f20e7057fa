"""Patching the standard library in place: see `patch_all`."""

from graftlet.patch._engine import is_patched as is_patched
from graftlet.patch._engine import patch as patch
from graftlet.patch._engine import patch_all as patch_all
from graftlet.patch._engine import patched as patched
from graftlet.patch._engine import unpatch_all as unpatch_all
from graftlet.patch._report import Place as Place
from graftlet.patch._report import Report as Report

__all__ = ("Place", "Report", "is_patched", "patch", "patch_all", "patched", "unpatch_all")

"""Attributes that each greenlet has its own values of."""

from graftlet.sync._local import local

__all__ = ("local",)

"""Groups of greenlets, and groups with a limited number of members."""

from graftlet.sync._group import Group
from graftlet.sync._pool import Pool

__all__ = ("Group", "Pool")

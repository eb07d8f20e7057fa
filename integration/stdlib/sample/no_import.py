"""A file that cannot be loaded."""

raise ImportError("on purpose")

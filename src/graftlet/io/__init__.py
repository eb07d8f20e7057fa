"""Waiting for file descriptors; the cooperative socket operations; calls in native threads."""

"""The kernel: hub, greenlets, deadlines, poller, wake-up from other threads.

Rule: it knows nothing of sockets, nor of the standard library's modules that are patched. It runs on a
clock and a poller that are handed to it.
"""

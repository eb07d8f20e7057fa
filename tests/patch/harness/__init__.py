"""One set of small cases under plain Python and under graftlet, each in a fresh interpreter.

Rule: a case is a function ``case_...`` of a module in ``cases/``; what it returns (or raises) must be
the same on real threads and on graftlet, whether patching came before every import or after it.
All cases of a module share one interpreter per mode, so a case leaves nothing behind: no thread, no
descriptor, no greenlet. That is checked after each of them.
"""

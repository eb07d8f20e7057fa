"""Imported by ``site`` in a child of ``graftlet --follow-children``; see the package beside it.

Rule: any Python may be the child, so the syntax is one that Python 2.7 and 3.x both read, and a
Python that can't have graftlet is left in peace. The ``sitecustomize`` that this one hides
is imported in its place, whatever happens here.
"""

import os
import sys

if __name__ == "sitecustomize":  # not when read as a module of graftlet
    _here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [_entry for _entry in sys.path if os.path.abspath(_entry) != _here]
    del sys.modules["sitecustomize"]
    try:
        _main = sys.version_info >= (3, 10)
        if _main:
            # A subinterpreter has no greenlets, see graftlet.io._interpreters.
            import _thread

            try:
                _main = getattr(_thread, "_is_main_interpreter")()  # noqa: B009 - since 3.12
            except AttributeError:  # goes with 3.11
                try:
                    import _xxsubinterpreters as _interpreters  # type: ignore[import-not-found] # no stubs

                    _main = _interpreters.get_current() == _interpreters.get_main()
                except ImportError:
                    pass
        if _main and os.environ.get("GRAFTLET") != "0":
            try:
                from graftlet.patch import patch_all
            except ImportError as error:
                if error.name != "graftlet":  # there, but broken: site reports it and goes on
                    raise
            else:
                patch_all()
    finally:
        # Raises ImportError if there is none, which is what site expects then.
        __import__("sitecustomize")

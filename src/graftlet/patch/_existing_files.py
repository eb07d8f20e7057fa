"""Files that exist when patching begins, made cooperative in place.

Rule: a C object can be initialised again. That puts new layers below it and changes none of the references
to it, whoever has them. What was read ahead goes to the new raw file; nothing waits: a file in which
another native thread is busy, or that has no room for what must be flushed, is left alone and reported.

Only raw files (those of ``open(..., buffering=0)``) have nothing below them: another object takes their place.
"""

import gc
import os
import select
import sys
import weakref
from collections.abc import Callable
from functools import partial
from io import BufferedReader, BufferedWriter, IncrementalNewlineDecoder, TextIOWrapper
from io import FileIO as CFileIO
from typing import Any, Final

from graftlet.core import _original
from graftlet.core._own_threads import own_threads, start_own_thread
from graftlet.io._files import COOPERATIVE, FileIO, attributes_of, size_of
from graftlet.io._os import is_ready, may_wait, on_another_file

#: A thread that holds a file's lock for so long (seconds) waits for something.
BUSY: Final = 0.1

#: What `make_cooperative` looks for.
KINDS: Final = (CFileIO, *COOPERATIVE, TextIOWrapper)

_changed: Final[list[Callable[[], Any]]] = []


def make_cooperative(objects: list[Any]) -> tuple[dict[int, tuple[Any, Any]], list[Any]]:
    """Make the files among ``objects`` cooperative.

    Returns: by ``id`` each raw file and what takes its place; the files that had to be left alone.
    """
    if _standard_stream not in on_another_file:
        on_another_file.append(_standard_stream)
    raws: dict[int, tuple[Any, Any]] = {}
    for each in objects:
        if type(each) is CFileIO and not each.closed and may_wait(each.fileno()):
            raws[id(each)] = (each, FileIO.of(each))
    left = []
    for each in objects:
        if type(each) in COOPERATIVE:
            pair = raws.get(id(_below(each, "raw")))
            if pair is not None and not _lay(each, pair[1]):
                left.append(each)
    for each in objects:
        if type(each) is TextIOWrapper:
            _renew(each, raws)
    return raws, left


def give_back() -> None:
    """Undo it, as far as nothing would get lost."""
    if _standard_stream in on_another_file:
        on_another_file.remove(_standard_stream)
    while _changed:
        file = _changed.pop()()
        if isinstance(file, TextIOWrapper):
            layer = _below(file, "buffer")
            before = getattr(layer, "before", None) or getattr(layer, "_owner", None)
            if before is None or layer.closed or not _is_empty(layer):
                continue
            if _replace(file, before) and type(layer) is not FileIO:
                layer.detach()  # or its end would be that of the raw file
        elif file is not None and type(raw := _below(file, "raw")) is FileIO:
            owner = raw._owner
            if owner is not None and not raw.closed and _is_empty(file):
                type(file).__init__(file, owner, size_of(file))
                raw.give_back(owner)


def _standard_stream(fd: int) -> None:
    """A standard stream reads or writes another file now: it may have been one that nobody waits for."""
    for stream in {
        sys.stdin,
        sys.stdout,
        sys.stderr,
        sys.__stdin__,
        sys.__stdout__,
        sys.__stderr__,
    }:
        buffer = _below(stream, "buffer")
        raw = _below(buffer, "raw") if type(buffer) in COOPERATIVE else buffer
        if type(raw) is CFileIO and not raw.closed and raw.fileno() == fd:
            make_cooperative([raw, buffer, stream])


# -- One layer each


def _lay(buffered: Any, raw: FileIO) -> bool:
    """Put ``raw`` under a C buffer (which stays one: not for two greenlets at once)."""
    if isinstance(buffered, BufferedReader):
        ahead = _promptly(partial(_ahead, buffered))
        if ahead is None:
            return False
        raw.read_ahead(ahead)
    elif not _promptly(partial(_flushed, buffered)):
        return False
    type(buffered).__init__(buffered, raw, size_of(buffered))
    _changed.append(weakref.ref(buffered))
    return True


def _renew(text: TextIOWrapper, raws: dict[int, tuple[Any, Any]]) -> None:
    """Put layers that greenlets take turns in under a text file, if it has decoded nothing yet."""
    old = _below(text, "buffer")
    new: Any
    if id(old) in raws:  # python -u
        new = raws[id(old)][1]
    elif type(old) in COOPERATIVE and type(raw := _below(old, "raw")) is FileIO:
        new = COOPERATIVE[type(old)](raw, size_of(old))
        new.before = old  # whoever has it may use it; and its end would be the end of the raw file
    else:
        return
    if _replace(text, new):
        _changed.append(weakref.ref(text))
    elif type(new) is not FileIO:
        new.detach()  # or its end would be that of the raw file


def _replace(text: TextIOWrapper, layer: Any) -> bool:
    if text.writable() and not _promptly(partial(_flushed, text)):
        return False
    attributes = _attributes_if_fresh(text)
    if attributes is None:
        return False
    text.detach()
    type(text).__init__(text, layer, **attributes)
    return True


def _below(file: Any, layer: str) -> Any:
    try:
        return getattr(file, layer, None)
    except ValueError:
        return None  # detached


def _ahead(buffered: BufferedReader) -> bytes:
    """What a buffer has read ahead.

    Only ``peek`` tells, and reads if that is nothing: so there is nothing to read for this moment.
    """
    fd = buffered.fileno()
    inheritable = os.get_inheritable(fd)
    kept = os.dup(fd)
    nothing = _original.open_descriptor(os.devnull, os.O_RDONLY)
    try:
        _original.dup2(nothing, fd)
        return buffered.peek()
    finally:
        _original.dup2(kept, fd, inheritable)
        _original.close(kept)
        _original.close(nothing)


def _flushed(file: Any) -> bool:
    """Flush a file if the kernel has room; says whether it had."""
    ready = is_ready(file.fileno(), select.POLLOUT)
    if ready:
        file.flush()
    return ready


def _is_empty(file: Any) -> bool:
    """Whether nothing is in a buffer (or a raw file): neither read ahead nor to be written."""
    if isinstance(file, BufferedReader):
        return bool(_promptly(partial(_ahead, file)) == b"")
    if isinstance(file, BufferedWriter):
        return bool(_promptly(partial(_flushed, file)))
    return not file._ahead


def _promptly(function: Callable[[], Any]) -> Any:
    """What ``function()`` returns; None if it fails, or another native thread is busy with the file."""
    outcome: list[Any] = []
    returned = _original.allocate_lock()

    def call() -> None:
        try:
            outcome.append(function())
        except (OSError, ValueError):
            pass
        finally:
            returned.release()

    returned.acquire()
    if set(sys._current_frames()) - own_threads == {_original.get_ident()}:
        call()
    else:
        start_own_thread(call)
        returned.acquire(True, BUSY)
    return outcome[0] if outcome else None


def _attributes_if_fresh(text: TextIOWrapper) -> dict[str, Any] | None:
    """With what to initialise ``text`` again; None if it has read (or written) something it still needs.

    What Python does not show, the garbage collector does: decoder, encoder, decoded text, ``newline``.
    """
    attributes = attributes_of(text, None)
    universal = False
    for held in gc.get_referents(text):
        if isinstance(held, str):
            if held in (text.encoding, text.errors):
                continue
            if held not in ("", "\n", "\r", "\r\n") or attributes["newline"] is not None:
                return None
            attributes["newline"] = held
        elif hasattr(held, "getstate"):
            if held.getstate() not in ((b"", 0), 0):
                return None
            universal = universal or isinstance(held, IncrementalNewlineDecoder)
    return None if universal and attributes["newline"] else attributes

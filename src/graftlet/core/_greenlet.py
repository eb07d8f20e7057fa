"""`Greenlet`: a function that runs beside others, and all that can be asked of it.

Rule: this object is the *job*; the greenlet of package greenlet that carries it out is a recycled
worker of the hub (see `graftlet.core._worker`). Everything that can happen to a job, a kill above all, is
kept in the job, so it can never hit what the worker does next.

A job ends exactly once, in `_end`: result first, then those who join, then the links.
"""

import atexit
import sys
from collections.abc import Callable
from contextvars import Context, copy_context
from types import CodeType, TracebackType
from typing import Any, Final
from weakref import WeakValueDictionary

from greenlet import GreenletExit

from graftlet.core import _fork, _original
from graftlet.core._current import (
    blocking_hub,
    get_hub,
    hub_or_none,
    in_main_thread,
    per_thread,
    set_hub_maker,
)
from graftlet.core._deadlines import INFINITY
from graftlet.core._deadlock import Watchman
from graftlet.core._errors import Thrown, exception_from
from graftlet.core._hub import Hub
from graftlet.core._links import ALWAYS, ON_EXCEPTION, ON_VALUE, Link, Receiver, news_of
from graftlet.core._signals import take_interrupts
from graftlet.core._task import Task, Timer
from graftlet.core._timeout import Timeout
from graftlet.core._unhandled import report_unhandled
from graftlet.core._waitqueue import WaitQueue, deadline_after

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_NOT_RUNNABLE: Final = "Greenlet is created with a callable, or a subclass overrides _run()"


class Greenlet(Task):
    """A function that runs cooperatively beside all others of its native thread.

    Args:
        run: what to call; None if a subclass overrides `_run`.
        args, kwargs: what to call it with.

    The greenlet does not run before it is started (`start`, `start_later`, `run`) and its spawner
    yields. `graftlet.spawn` makes and starts one.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_exception",
        "_joiners",
        "_links",
        "_name",
        "_run_function",
        "_site",
        "_start_timer",
        "_traceback",
        "args",
        "kwargs",
        "locals",
        "value",
    )

    #: What the function returned; the `GreenletExit` if the greenlet was killed with one.
    value: Any
    #: The arguments; given up when the greenlet ends.
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __init__(self, run: Callable[..., Any] | None = None, /, *args: Any, **kwargs: Any) -> None:
        # Task.__init__, unrolled: a call here would be a tenth of the whole spawn
        # (benchmarks/programs/spawn_*.py).
        self.deadline = INFINITY
        self.armed = None
        self.hub = None
        self.raw = None
        self.waiting = None
        self.timed_out = False
        self.pending = None
        self.context = None
        self.done = False

        if run is None:
            if type(self)._run is Greenlet._run:
                raise TypeError(_NOT_RUNNABLE)
        elif not callable(run):
            raise TypeError(f"Greenlet: the first argument must be callable, not {run!r}")
        self._run_function = run
        self.args = args
        self.kwargs = kwargs
        self.value = None
        self._exception: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._joiners: WaitQueue | None = None
        self._links: list[Link] | None = None
        self._name: str | None = None
        self._site: tuple[CodeType, int] | None = None
        self._start_timer: Timer | None = None
        # For each `graftlet.local.local` in use here: its namespaces, of all greenlets.
        self.locals: WeakValueDictionary[int, Any] | None = None

    def __repr__(self) -> str:
        kind = type(self).__name__
        what = "main" if self._is_main() else self._describe_call()
        return f"<{kind} at {id(self):#x}: {what}>"

    def _describe_call(self) -> str:
        function = self._run_function
        if function is None:
            return "_run"
        name = getattr(function, "__name__", None) or repr(function)
        owner = getattr(function, "__self__", None)
        if owner is not None and not isinstance(owner, type(sys)):
            name = f"{type(owner).__name__}.{name}"
        shown = [_short_repr(argument) for argument in self.args]
        shown += [f"{key}={_short_repr(argument)}" for key, argument in self.kwargs.items()]
        # An ended one has given up its arguments (but not yet when its failure is reported).
        return f"{name}({', '.join(shown)})" if shown or not self.done else name

    def _is_main(self) -> bool:
        return self.hub is not None and self.hub.main is self

    # -- State

    @property
    def name(self) -> str:
        """A name for people: ``Greenlet-`` and a number of its own unless it has been set."""
        if self._name is None:
            self._name = "MainGreenlet" if self._is_main() else f"Greenlet-{id(self):#x}"
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    @property
    def ident(self) -> int:
        """The thread ident: unique among all that runs; the native thread's for its main greenlet."""
        return id(self) if self.hub is None else self.hub.ident_of(self)

    @property
    def started(self) -> bool:
        """Whether it has been started and has not ended."""
        return self.hub is not None and not self.done

    def __bool__(self) -> bool:
        return self.hub is not None and not self.done

    @property
    def dead(self) -> bool:
        """Whether it has ended, or been killed before it began."""
        return self.done

    def ready(self) -> bool:
        """Whether it has ended: `get` will not block."""
        return self.done

    def successful(self) -> bool:
        """Whether it has ended without an unhandled exception (`GreenletExit` is none)."""
        return self.done and self._exception is None

    @property
    def exception(self) -> BaseException | None:
        """The unhandled exception that it ended with, if it did."""
        return self._exception

    @property
    def exc_info(self) -> ExcInfo | tuple[()]:
        """The exception's type, value and traceback; empty if there was none."""
        if self._exception is None:
            return ()
        return type(self._exception), self._exception, self._traceback

    @property
    def spawned_at(self) -> str | None:
        """File, line and function of the call that started it; None if it was not started."""
        if self._site is None:
            return None
        code, offset = self._site
        return f"{code.co_filename}:{_line_at(code, offset)} in {code.co_name}"

    # -- Starting

    @classmethod
    def spawn(cls, /, *args: Any, **kwargs: Any) -> "Greenlet":
        """Make one with these arguments, and start it."""
        greenlet = cls(*args, **kwargs)
        greenlet.start()
        return greenlet

    @classmethod
    def spawn_later(cls, seconds: float, /, *args: Any, **kwargs: Any) -> "Greenlet":
        """Make one with these arguments, and start it after ``seconds``."""
        greenlet = cls(*args, **kwargs)
        greenlet.start_later(seconds)
        return greenlet

    def start(self) -> None:
        """Let it run as soon as this greenlet yields. A second call does nothing."""
        if self.hub is None and not self.done:
            self._remember_site(sys._getframe(1))
            self.hub = hub = get_hub()
            self.context = copy_context()
            hub.ready.append(self)
        elif self._start_timer is not None:
            self._begin()

    def start_later(self, seconds: float) -> None:
        """Let it run after ``seconds``."""
        if self.hub is None and not self.done:
            deadline = deadline_after(seconds)  # bad input: nothing has changed yet
            self._remember_site(sys._getframe(1))
            self.hub = hub = get_hub()
            self.context = copy_context()
            self._start_timer = hub.call_at(deadline, self._begin)

    def _begin(self) -> None:
        """The time of `start_later` has come."""
        timer = self._start_timer
        if timer is not None and not self.done:
            self._start_timer = None
            assert self.hub is not None
            self.hub.deadlines.abandon(timer)
            self.hub.ready.append(self)

    def run(self) -> None:
        """Start it, and let everybody who is ready run once."""
        self.start()
        get_hub().yield_now()

    def _remember_site(self, frame: Any) -> None:
        # The user's line, not that of spawn_later or of a pool.
        while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(
            "graftlet."
        ):
            frame = frame.f_back
        self._site = (frame.f_code, frame.f_lasti)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        """What the greenlet does: subclasses may override it."""
        assert self._run_function is not None
        return self._run_function(*args, **kwargs)

    # -- The end

    def execute(self) -> None:
        try:
            function = self._run_function
            if function is None:
                function = self._run
            if self.args or self.kwargs:
                value = function(*self.args, **self.kwargs)
            else:
                value = function()  # leaves 0.9 KiB less on the C stack if that is a method
        except GreenletExit as exit_:
            self.value = exit_
        except BaseException as error:
            self._exception = error
            self._traceback = error.__traceback__
        else:
            self.value = value
        try:
            self._end()
        except BaseException as error:
            self._report(error)

    def _end(self) -> None:
        """It has ended: tell everybody, once."""
        self.done = True
        self.pending = None
        if self.locals is not None:
            self._give_up_locals()
        if self.armed is not None:
            # Or an hour's time-out, long forgotten, would keep an ended greenlet for an hour.
            assert self.hub is not None
            self.hub.deadlines.abandon(self)
        if self._joiners is not None:
            self._joiners.wake_all()
        if self._exception is not None:
            self._report(self._exception)
        if self._links:
            self._tell_links()
        # A Greenlet that is kept must not keep what it was called with.
        self.args = ()
        if self.kwargs:
            self.kwargs = {}

    def end_with_thread(self) -> None:
        if self.locals is not None:
            self._give_up_locals()

    def keepsakes(self) -> object:
        return self, list((self.locals or {}).values())

    def _give_up_locals(self) -> None:
        spaces_of_all, self.locals = self.locals, None
        assert spaces_of_all is not None
        for spaces in list(spaces_of_all.values()):
            spaces.pop(self, None)

    def _end_unstarted(self, thrown: BaseException) -> None:
        """Killed before its start: it never runs."""
        if isinstance(thrown, GreenletExit):
            self.value = thrown
        else:
            self._exception = thrown
            self._traceback = thrown.__traceback__
        if self._start_timer is not None:
            assert self.hub is not None
            self.hub.deadlines.abandon(self._start_timer)
            self._start_timer = None
        self.done = True
        self.context = None
        if self._joiners is not None:
            self._joiners.wake_all()
        if self._links:
            self._tell_links()

    def _report(self, error: BaseException, where: str = "") -> None:
        """Somebody must hear of ``error``. Raises nothing: there is more to do at the end."""
        hub = get_hub() if self.hub is None else self.hub
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            hub.throw(hub.main, error)
            return
        try:
            report_unhandled(hub, self, error, where)
        except BaseException as failure:
            hub.throw(hub.main, failure)  # a hook that exits

    # -- Joining

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended.

        Args:
            timeout: seconds; None waits for ever.

        Returns: whether it has ended.
        """
        return self.done or self.join_until(deadline_after(timeout))

    def join_until(self, deadline: float) -> bool:
        """As `join`, with a deadline in the seconds of the hub's clock."""
        if self.done:
            return True
        self._must_be_joinable()
        joiners = self._joiners
        if joiners is None:
            # Two threads may come here at once: one queue wins.
            with _making:
                joiners = self._joiners
                if joiners is None:
                    joiners = self._joiners = WaitQueue()
        turn = joiners.enter(self)
        try:
            while not self.done:
                if not turn.park(deadline):
                    break
        finally:
            joiners.leave(turn, True)
        return self.done

    def _must_be_joinable(self) -> None:
        if self.hub is not None and self.hub.current is self and get_hub() is self.hub:
            raise RuntimeError(f"{self!r} can't wait for its own end")

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the value, or raise the exception that it ended with.

        Args:
            block: whether to wait for the end.
            timeout: seconds; None waits for ever.

        Raises:
            Timeout: it has not ended (in time).
        """
        if not self.done and not (block and self.join(timeout)):
            raise Timeout(timeout if block else 0)
        if self._exception is not None:
            raise self._exception.with_traceback(self._traceback)
        return self.value

    # -- Killing

    def kill(
        self,
        exception: Thrown = GreenletExit,
        block: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Raise ``exception`` in the greenlet, at the blocking call that it is in.

        A greenlet that has not begun never runs. One that has ended stays as it is.

        Args:
            exception: a class or an instance.
            block: whether to wait for the greenlet's end.
            timeout: how many seconds to wait, at most; None waits for ever.

        Raises:
            TypeError: ``exception`` is no exception.
        """
        thrown = exception_from(exception)
        if self.done:
            return
        hub = self.hub
        if hub is None:
            self._end_unstarted(thrown)
            return
        if hub.thread != _original.get_ident():
            hub.post(lambda: self._kill_here(thrown))
        elif hub.is_running(self):
            raise thrown
        else:
            self._kill_here(thrown)
        if block:
            self.join(timeout)

    def _kill_here(self, thrown: BaseException) -> None:
        if self.done:
            return
        if self.raw is None:
            self._end_unstarted(thrown)
        else:
            assert self.hub is not None
            self.hub.throw(self, thrown)

    def throw(self, exception: Thrown = GreenletExit) -> None:
        """Raise ``exception`` in the greenlet, and let everybody who is ready run once."""
        self.kill(exception)
        get_hub().yield_now()

    # -- Links

    def link(self, receiver: "Receiver | Greenlet | None" = None) -> None:
        """Tell ``receiver`` when the greenlet has ended (also if it has already).

        Args:
            receiver: None: `LinkedExited` is raised in the current greenlet; a Greenlet: in that one;
                a callable: it is called with this greenlet, by which it must not block.
        """
        self._link(receiver, ALWAYS)

    def link_value(self, receiver: "Receiver | Greenlet | None" = None) -> None:
        """As `link`, but only if the greenlet ends without an exception."""
        self._link(receiver, ON_VALUE)

    def link_exception(self, receiver: "Receiver | Greenlet | None" = None) -> None:
        """As `link`, but only if the greenlet ends with an exception."""
        self._link(receiver, ON_EXCEPTION)

    def rawlink(self, callback: Receiver) -> None:
        """Have ``callback`` called with this greenlet when it has ended."""
        self._link(callback, ALWAYS)

    def unlink(self, receiver: "Receiver | Greenlet | None" = None) -> None:
        """Take back every link to ``receiver`` (None: the current greenlet) not told yet."""
        receiver = getcurrent() if receiver is None else receiver
        links = self._links
        for link in list(links or ()):
            if link.receiver == receiver:
                assert links is not None
                try:
                    links.remove(link)
                except ValueError:
                    pass  # another thread was faster, or tells it just now

    def _link(self, receiver: "Receiver | Greenlet | None", kind: int) -> None:
        if receiver is None:
            receiver = getcurrent()
        if receiver is self:
            raise ValueError(f"{self!r} can't be linked to itself")
        if not isinstance(receiver, Greenlet) and not callable(receiver):
            raise TypeError(f"link: a callable, a Greenlet or None is needed, not {receiver!r}")
        links = self._links
        if links is None:
            with _making:  # two threads may come here at once: one list wins
                links = self._links = self._links or []
        links.append(Link(receiver, kind))
        # Invariant: the end is marked before the links are told. Who makes one looks for the end afterwards:
        # a greenlet of another native thread may end at any moment.
        if self.done:
            if blocking_hub() is None:
                self._tell_links()
            else:
                # By a greenlet of its own: a link is never told inside of the call that makes it.
                spawn_raw(self._tell_links)

    def _tell_links(self) -> None:
        """It has ended. Whoever takes a link out of the list tells it: it is told exactly once."""
        links = self._links
        while links:
            try:
                link = links.pop(0)
            except IndexError:
                return  # another thread was faster
            self._tell(link)

    def _tell(self, link: Link) -> None:
        if not link.wants(self):
            return
        receiver = link.receiver
        if isinstance(receiver, Greenlet):
            hub = receiver.hub
            if hub is None or receiver.done:
                return
            news = news_of(self)
            if hub.thread != _original.get_ident():
                hub.post(lambda: receiver._kill_here(news))
            else:
                receiver._kill_here(news)
            return
        try:
            receiver(self)
        except BaseException as error:  # whatever it is: the others must be told, too
            self._report(error, f"in the link {_short_repr(receiver)} of")


_making: Final = _fork.free_in_children(_original.allocate_lock())


def _short_repr(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:
        # What is told of a greenlet, its failure above all, must not fail because of an argument.
        text = f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _line_at(code: CodeType, offset: int) -> int:
    for start, end, line in code.co_lines():
        if start <= offset < end and line is not None:
            return line
    return code.co_firstlineno


def getcurrent() -> Greenlet:
    """The greenlet that is running. The main one, which was never spawned, has one, too."""
    current = get_hub().current
    assert isinstance(current, Greenlet)
    return current


def spawn(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Greenlet:
    """Make a greenlet of ``function(*args, **kwargs)`` and start it.

    It does not run before the current greenlet yields; greenlets start in the order in which they
    were spawned. It sees a copy of the current context (``contextvars``).

    Raises:
        TypeError: ``function`` is not callable.
    """
    greenlet = Greenlet(function, *args, **kwargs)
    # `start`, unrolled (benchmarks/programs/spawn_*.py).
    frame = sys._getframe(1)
    greenlet._site = (frame.f_code, frame.f_lasti)
    try:
        hub: Hub = per_thread.hub
    except AttributeError:
        hub = get_hub()
    greenlet.hub = hub
    greenlet.context = copy_context()
    hub.ready.append(greenlet)
    return greenlet


class RawGreenlet(Greenlet):
    """A greenlet without the frills: nothing is copied for it, and its site is not remembered."""

    __slots__ = ()


def spawn_raw(
    function: Callable[..., Any], /, *args: Any, context: Context | None = None, **kwargs: Any
) -> Greenlet:
    """As `spawn`, but in an empty context, and without remembering where it was spawned."""
    greenlet = RawGreenlet(function, *args, **kwargs)
    greenlet.hub = hub = get_hub()
    greenlet.context = context
    hub.ready.append(greenlet)
    return greenlet


def _main() -> None:  # pragma: no cover - never called: the main greenlet runs already
    raise AssertionError


def make_hub() -> Hub:
    """A hub for this native thread, whose main greenlet is the one that runs now."""
    hub = Hub(Greenlet(_main))
    hub.on_stuck = Watchman().describe_if_stuck
    if in_main_thread():
        take_interrupts()
    return hub


def freeze_at_exit() -> None:
    """Registered before the program registers anything, hence called last."""
    hub = hub_or_none()
    if hub is not None:
        hub.freeze()


set_hub_maker(make_hub)
_fork.begin_anew_in_children()
atexit.register(freeze_at_exit)

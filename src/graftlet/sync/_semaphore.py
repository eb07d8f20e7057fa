"""`Semaphore` and `BoundedSemaphore`: a heap of tokens.

Rule: the count is no number but a list of tokens. Taking one (``del tokens[-1]``) and putting one back
are each a single atomic step, so there is no mutex that a finalizer or another native thread could
find locked, and an acquire that was asked not to block never switches.

Taking a waiter's turn out of the queue *is* the hand-over of a token to it: first come, first served,
and a greenlet that releases and acquires in a loop can't starve the others. Whoever leaves the
queue and does not find its turn there has a token, and puts it back if it can't use it (kill).

``del`` and not ``pop()``: CPython runs signal handlers after a call, and the exception that one raises
there would lose the token.
"""

from itertools import repeat
from operator import length_hint
from types import TracebackType
from typing import Final

from graftlet.core._waitqueue import Turn, WaitQueue, deadline_after

#: What one token is added with: ``+=`` is no call, after which a signal's handler could raise.
_ONE: Final = (None,)


class Semaphore:
    """A counter of free places, as `threading.Semaphore`.

    Args:
        value: how many places are free at first.

    Greenlets and native threads get their places in the order in which they asked.

    Raises:
        ValueError: ``value`` is negative.
    """

    __slots__ = ("__weakref__", "_reserves", "_tokens", "_turns", "_waiters")

    #: From so many tokens on they are kept as a number, in an iterator that ends after as many steps.
    MANY: Final = 1000

    def __init__(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError(f"{type(self).__name__}: the initial value must be >= 0, not {value}")
        self._waiters = WaitQueue()
        self._turns = self._waiters._turns
        self._tokens: list[None] = []
        self._reserves: list[repeat[None]] = []
        self._put_back(value)

    def __repr__(self) -> str:
        name = f"graftlet.lock.{type(self).__name__}"
        return f"<{name} at {id(self):#x}: counter={self.counter} waiters={len(self._turns)}>"

    @property
    def counter(self) -> int:
        """How many places are free."""
        return len(self._tokens) + sum(map(length_hint, list(self._reserves)))

    def locked(self) -> bool:
        """Whether no place is free."""
        return self.counter == 0

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a place.

        Args:
            blocking: whether to wait for one.
            timeout: how many seconds to wait at most; None waits for ever.

        Returns: whether a place was taken.

        Raises:
            ValueError: a timeout for an acquire that shall not wait.
        """
        if timeout is not None and not blocking:
            raise ValueError("can't specify timeout for non-blocking acquire")
        try:
            del self._tokens[-1]
        except IndexError:
            return self._take_from_reserve() or (blocking and self._wait(timeout))
        return True

    def release(self, n: int = 1) -> None:
        """Give ``n`` places back; whoever waits for them is woken.

        Raises:
            ValueError: ``n`` is less than one.
        """
        if n < 1:
            raise ValueError(f"n must be one or more, not {n}")
        if n > 1:
            self._put_back(n)
            return
        try:
            self._tokens.append(None)
            if self._turns:
                self._share()
        except BaseException:  # a signal's handler has raised: the waiters are told all the same
            if self._turns:
                self._share()
            raise

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    # -- Tokens

    def _take(self) -> bool:
        try:
            del self._tokens[-1]
        except IndexError:
            return self._take_from_reserve()
        return True

    def _take_from_reserve(self) -> bool:
        reserves = self._reserves
        while reserves:
            try:
                reserve = reserves[-1]
            except IndexError:
                break
            for _ in reserve:  # one step is atomic, too
                return True
            try:
                reserves.remove(reserve)
            except ValueError:
                pass  # another thread has found it empty, too
        return False

    def _put_back(self, n: int) -> None:
        try:
            if n < self.MANY:
                self._tokens += _ONE * n
            else:
                self._reserves.append(repeat(None, n))
            if self._turns:
                self._share()
        except BaseException:  # as in `release`
            if self._turns:
                self._share()
            raise

    def _share(self) -> None:
        """Hand free tokens to those who wait.

        Invariant: whoever makes a token free calls this afterwards, and a waiter looks for a token
        after it has entered the queue. So no token stays free while somebody waits.
        """
        turns = self._turns
        while turns:
            try:
                turn = next(iter(turns))
            except (StopIteration, RuntimeError):
                continue  # another thread has changed the queue in between
            if not self._take():
                return
            try:
                del turns[turn]  # the hand-over
            except KeyError:
                self._tokens.append(None)  # it has left
                continue
            # Invariant: it is told, even if a signal's handler raises here.
            try:
                alive = turn.notify()
            except BaseException:
                turn.notify()
                raise
            if not alive:
                self._tokens.append(None)

    def _wait(self, timeout: float | None, keep: bool = True) -> bool:
        """Wait for a token; without ``keep`` it is only had for a moment."""
        if timeout is not None and timeout <= 0:
            return False
        deadline = deadline_after(timeout)
        turns = self._turns
        turn = Turn(self)
        entered = taken = handed = served = False
        try:
            turns[turn] = None
            entered = True
            taken = self._take()
            if not taken:
                turn.park(deadline)
            try:
                del turns[turn]
            except KeyError:
                handed = True
            entered = False
            served = keep
        finally:
            if not served:
                if entered:
                    try:
                        del turns[turn]
                    except KeyError:
                        handed = True
                if surplus := taken + handed:
                    self._tokens += _ONE * surplus
                    if turns:
                        self._share()
        if served and taken and handed:
            self._put_back(1)
        return taken or handed


class BoundedSemaphore(Semaphore):
    """A semaphore that can't be released more often than it was acquired.

    Args:
        value: how many places there are.

    Raises:
        ValueError: ``value`` is negative.
    """

    # A token for each place that is taken: taking one out is the proof that a release is legitimate.
    __slots__ = ("_occupied",)

    def __init__(self, value: int = 1) -> None:
        self._occupied: list[None] = []
        super().__init__(value)

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a place; see `Semaphore.acquire`."""
        if not Semaphore.acquire(self, blocking, timeout):
            return False
        self._occupied += _ONE
        return True

    def release(self, n: int = 1) -> None:
        """Give ``n`` places back; whoever waits for them is woken.

        Raises:
            ValueError: ``n`` is less than one, or so many places aren't taken.
        """
        if n < 1:
            raise ValueError(f"n must be one or more, not {n}")
        freed = 0
        try:
            while freed < n:
                del self._occupied[-1]
                freed += 1
        except IndexError:
            self._occupied += _ONE * freed
            raise ValueError("Semaphore released too many times") from None
        self._put_back(n)

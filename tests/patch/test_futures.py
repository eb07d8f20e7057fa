"""concurrent.futures on greenlets and processes: as on real threads."""

from __future__ import annotations

import pytest

from tests.patch.test_multiprocessing import check, methods

pytestmark = pytest.mark.slow  # as there


@methods
def test_process_pool(method: str) -> None:
    check(
        """
        import concurrent.futures as futures
        def square(number):
            return number * number
        def fail(number):
            raise LookupError(number)
        def main():
            with futures.ProcessPoolExecutor(2, mp_context=context) as executor:
                print(list(executor.map(square, range(50), chunksize=5)))
                calls = [executor.submit(square, number) for number in range(10)]
                print(sum(call.result() for call in futures.as_completed(calls, LONG)))
                print(on_threads(*[lambda: executor.submit(square, 5).result(LONG)] * 5))
                print(repr(executor.submit(fail, 1).exception(LONG)))
                slow = executor.submit(time.sleep, 0.3)
                try:
                    slow.result(0.01)
                except futures.TimeoutError:
                    print("too late")
                print(len(futures.wait([slow], LONG).done))
        """,
        method,
    )


@methods
def test_a_killed_process_breaks_its_pool(method: str) -> None:
    check(
        """
        import concurrent.futures as futures
        from concurrent.futures.process import BrokenProcessPool
        def die():
            os.kill(os.getpid(), signal.SIGKILL)
        def main():
            with futures.ProcessPoolExecutor(1, mp_context=context) as executor:
                for _ in range(2):
                    try:
                        print(executor.submit(die).result(LONG))
                    except BrokenProcessPool:
                        print("broken")
        """,
        method,
    )


@pytest.mark.parametrize("method", ["fork"])  # which does not matter here
def test_thread_pool(method: str) -> None:
    check(
        """
        import concurrent.futures as futures
        def prepare():
            executor = futures.ThreadPoolExecutor(2)
            if mode == "plain":
                executor.submit(int).result()  # threads that exist stay native
            return executor
        def main():
            with old as executor:
                gate, begun = threading.Event(), threading.Semaphore(0)
                def block():
                    begun.release()
                    return gate.wait(LONG)
                blocked = [executor.submit(block) for _ in range(2)]
                begun.acquire(), begun.acquire()
                queued = [executor.submit(pow, 2, n) for n in range(3)]
                print(queued[2].cancel(), blocked[0].cancel(), futures.wait(queued[:2], 0.05).done)
                gate.set()
                print([call.result(LONG) for call in blocked + queued[:2]])
                print(list(executor.map(lambda n: time.sleep(0.01) or n, range(8))))
                print(repr(executor.submit(int, "x").exception()))
            try:
                executor.submit(int)
            except RuntimeError as error:
                print(error)
            if mode != "plain":
                print(len(os.listdir("/proc/self/task")) - 1, "native threads")
            else:
                print("0 native threads")
        """,
        method,
    )

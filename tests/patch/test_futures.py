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


@methods
def test_a_process_pool_of_before(method: str) -> None:
    check(
        """
        import concurrent.futures as futures
        def prepare():
            executor = futures.ProcessPoolExecutor(2, mp_context=context)
            early = executor.submit(pow, 2, 3)
            early.result(LONG)
            pool = context.Pool(2)
            # Who has a lock in its hands while patching replaces it is out of reach: let the threads come to rest.
            settle()
            return executor, early, pool
        def main():
            executor, early, pool = old
            print(early.result(LONG))
            with executor:
                print(list(executor.map(abs, range(-20, 0), chunksize=3)))
                print(on_threads(*[lambda: executor.submit(pow, 5, 2).result(LONG)] * 5))
            print(on_threads(*[lambda: pool.apply(pow, (2, 5))] * 5, lambda: pool.map(abs, [-1, -2])))
            slow = pool.apply_async(time.sleep, (0.1,))
            print(on_threads(lambda: slow.get(LONG), slow.wait), slow.successful())
            pool.close()
            pool.join()
        """,
        method,
    )


@pytest.mark.parametrize("method", ["fork"])  # which does not matter here
def test_threads_of_before(method: str) -> None:
    """They stay native threads: some are at work when patching comes, and some wait for work."""
    check(
        """
        import concurrent.futures as futures
        from multiprocessing.pool import ThreadPool
        gate = threading.Event()
        def prepare():
            executor, pool = futures.ThreadPoolExecutor(3), ThreadPool(2)
            begun = threading.Semaphore(0)
            def block():
                begun.release()
                return gate.wait(LONG)
            at_work = [executor.submit(block) for _ in range(2)]
            begun.acquire(), begun.acquire()
            print(executor.submit(pow, 2, 2).result(), pool.apply(pow, (2, 3)))
            return executor, pool, at_work
        def main():
            executor, pool, at_work = old
            print(on_threads(*[lambda n=n: executor.submit(pow, 3, n).result(LONG) for n in range(5)]))
            print(on_threads(*[lambda n=n: pool.apply(pow, (4, n)) for n in range(5)]))
            nested = executor.submit(lambda: pool.apply_async(time.sleep, (0.01,)).get(LONG))
            print(nested.result(LONG), futures.wait(at_work, 0.02).done)
            threading.Timer(0.02, gate.set).start()
            print([call.result(LONG) for call in at_work])
            executor.shutdown()
            pool.close()
            pool.join()
        """,
        method,
    )

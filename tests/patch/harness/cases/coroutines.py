"""Cases of asyncio: loops in several threads at once, beside synchronous code."""
# ruff: noqa: ASYNC110, ASYNC222, ASYNC251 - that coroutines block is what is looked at

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import os
import signal
import socket
import sys
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any, Final, cast

from tests.patch.harness.tools import LONG, SHORT, Background, kind, outcome, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

variable: Final[contextvars.ContextVar[str]] = contextvars.ContextVar("variable", default="none")


def prepare() -> None:
    """Used before patching, where that comes last: what asyncio keeps exists already."""

    async def nothing() -> None:
        await asyncio.sleep(0)

    asyncio.run(nothing())
    # Makes what multiprocessing and the like leave for ever: not one case's leak.
    run_child(execute("0"))


def state() -> tuple[str, str, bool, int]:
    """What synchronous code sees of event loops."""
    return (
        cast("str", outcome(asyncio.get_running_loop)),
        cast("str", outcome(asyncio.current_task)),
        sys.get_asyncgen_hooks() == (None, None),
        sys.get_coroutine_origin_tracking_depth(),
    )


def send_soon(number: int) -> Background:
    """A thread that sends this process a signal."""

    def send() -> None:
        settle()
        os.kill(os.getpid(), number)

    return Background(send)


def is_here(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any] | None) -> bool:
    """Whether this is the running loop, and the current task, and its hooks are there."""
    return (
        asyncio.get_running_loop() is loop
        and asyncio.current_task() is task
        and sys.get_asyncgen_hooks().finalizer == loop._asyncgen_finalizer_hook  # type: ignore[attr-defined] # what is compared
    )


def run_child(main: Coroutine[Any, Any, Any]) -> Any:
    """As ``asyncio.run``, and wait for the threads that wait for child processes (until Python 3.11)."""
    try:
        return asyncio.run(main)
    finally:
        for thread in threading.enumerate():
            if "waitpid" in thread.name:
                thread.join(LONG)


async def execute(code: str) -> tuple[bytes, int | None]:
    """Run Python code in a child process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-S",
        "-c",
        code,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate(b"input")
    return out, process.returncode


# ---- Loops beside each other ----------------------------------------------------------------------


def case_twenty_loops_at_once() -> Any:
    together = threading.Barrier(20)
    wrong: list[str] = []

    async def main(number: int) -> int:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 2 * LONG  # a slow machine is nothing to complain about
        task = asyncio.current_task()
        together.wait(LONG)
        for step in range(4):
            for wait in (asyncio.sleep(0), asyncio.sleep(0.001)):
                await wait
                if not is_here(loop, task):
                    wrong.append(f"{number}, step {step}: after an await")
            time.sleep(0.001)
            if not is_here(loop, task):
                wrong.append(f"{number}, step {step}: after time.sleep")
        together.wait(LONG)
        return number

    def run(number: int) -> int:
        before = state()
        result = asyncio.run(main(number), debug=number % 3 == 0)
        if state() != before:
            wrong.append(f"{number}: afterwards")
        return result

    threads = [Background(run, number) for number in range(20)]
    return [thread.result() for thread in threads], wrong, state()


def case_synchronous_code_beside_sees_no_loop() -> Any:
    begun, looked = threading.Event(), threading.Event()

    def look() -> Any:
        begun.wait(LONG)
        try:
            return state()
        finally:
            looked.set()

    async def main() -> bool:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 2 * LONG
        begun.set()
        done = looked.wait(LONG)  # blocks the loop, and nobody else
        return done and is_here(loop, asyncio.current_task())

    thread = Background(look)
    return asyncio.run(main(), debug=True), thread.result(), state()


def case_main_beside_loops_sees_none() -> Any:
    async def main() -> None:
        for _ in range(5):
            time.sleep(0.001)
            await asyncio.sleep(0.001)

    threads = [Background(asyncio.run, main()) for _ in range(3)]
    seen = set()
    for _ in range(10):
        time.sleep(0.001)
        seen.add(state())
    return [thread.result() for thread in threads], seen


def case_a_new_thread_sees_no_loop() -> Any:
    async def main() -> Any:
        thread = Background(state)
        return thread.result(), Background(asyncio.run, asyncio.sleep(0, "inner")).result()

    return asyncio.run(main())


def case_blocking_sleep_lets_others_run() -> Any:
    events: list[str] = []
    begun = threading.Event()

    async def main() -> None:
        events.append("loop sleeps")
        begun.set()
        while len(events) < 2:
            time.sleep(SHORT)
        events.append("loop goes on")

    def other() -> None:
        begun.wait(LONG)
        time.sleep(SHORT)
        events.append("other")

    threads = [Background(asyncio.run, main()), Background(other)]
    return [thread.result() for thread in threads], events


def case_loops_in_turns() -> Any:
    """A loop that begins before another one and ends after it: nothing of either is left."""
    begun, ended = threading.Event(), threading.Event()

    async def outer() -> Any:
        begun.set()
        ended.wait(LONG)
        return is_here(asyncio.get_running_loop(), asyncio.current_task())

    async def inner() -> Any:
        asyncio.get_running_loop().slow_callback_duration = 2 * LONG
        begun.wait(LONG)
        return is_here(asyncio.get_running_loop(), asyncio.current_task())

    def run_inner() -> Any:
        try:
            return asyncio.run(inner(), debug=True), state()
        finally:
            ended.set()

    first = Background(lambda: (asyncio.run(outer()), state()))
    second = Background(run_inner)
    return first.result(), second.result(), state()


def case_asynchronous_generators_end_in_their_own_loop() -> Any:
    together = threading.Barrier(2)

    async def main() -> bool:
        ended: list[Any] = []

        async def generate() -> AsyncIterator[int]:
            try:
                yield 1
                yield 2
            finally:
                await asyncio.sleep(0)
                ended.append(asyncio.get_running_loop())

        together.wait(LONG)
        generator = generate()
        time.sleep(0.001)  # the other loop runs
        async for _ in generator:
            break
        del generator
        together.wait(LONG)
        for _ in range(5):
            await asyncio.sleep(0)
        return ended == [asyncio.get_running_loop()]

    threads = [Background(asyncio.run, main()) for _ in range(2)]
    return [thread.result() for thread in threads]


def case_loop_left_behind_by_a_thread() -> Any:
    loop = asyncio.new_event_loop()
    thread = Background(asyncio._set_running_loop, loop)
    result = thread.result()
    loop.close()
    return result, state(), Background(state).result()


def case_run_in_run() -> Any:
    async def main() -> Any:
        inner = asyncio.sleep(0)
        try:
            return outcome(asyncio.run, inner)
        finally:
            inner.close()

    return asyncio.run(main())


def case_error_out_of_a_loop() -> Any:
    async def main() -> None:
        time.sleep(0.001)
        raise ZeroDivisionError("x")

    return outcome(asyncio.run, main()), state(), Background(asyncio.run, main()).result(), state()


def case_policy_of_threads() -> Any:
    def use() -> Any:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        settle()
        try:
            return asyncio.get_event_loop() is loop, loop.run_until_complete(
                asyncio.sleep(0, "ran")
            )
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    mine = asyncio.new_event_loop()
    asyncio.set_event_loop(mine)
    try:
        threads = [Background(use) for _ in range(3)]
        results = [thread.result() for thread in threads]
        return results, asyncio.get_event_loop() is mine
    finally:
        asyncio.set_event_loop(None)
        mine.close()


def case_no_loop_in_a_thread() -> Any:
    return Background(lambda: kind(asyncio.get_event_loop)).result()


# ---- What a loop does with threads ---------------------------------------------------------------


def case_to_thread() -> Any:
    async def main() -> Any:
        variable.set("main's")
        seen: list[str] = []

        def work(seconds: float) -> Any:
            time.sleep(seconds)
            seen.append(variable.get())
            return state()[:2]

        together = threading.Barrier(4)
        calls = [asyncio.to_thread(together.wait, LONG) for _ in range(4)]
        indices = await asyncio.gather(*calls)
        return sorted(indices), await asyncio.to_thread(work, 0.001), seen

    return asyncio.run(main())


def case_run_in_executor() -> Any:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(2) as executor:
            own = await asyncio.gather(
                *(loop.run_in_executor(executor, pow, 2, n) for n in range(5))
            )
        default = await loop.run_in_executor(None, threading.current_thread)
        failed = loop.run_in_executor(None, int, "x")
        results = await asyncio.gather(failed, return_exceptions=True)
        return own, default is threading.current_thread(), results

    return repr(asyncio.run(main()))


def case_call_soon_threadsafe() -> Any:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        got: asyncio.Queue[int] = asyncio.Queue()

        def produce(number: int) -> None:
            settle()
            loop.call_soon_threadsafe(got.put_nowait, number)

        threads = [Background(produce, number) for number in range(8)]
        numbers = sorted([await asyncio.wait_for(got.get(), LONG) for _ in threads])
        return numbers, [thread.result() for thread in threads]

    return asyncio.run(main())


def case_run_coroutine_threadsafe() -> Any:
    async def work(number: int) -> int:
        await asyncio.sleep(0.001)
        return number + 1

    loop = asyncio.new_event_loop()
    thread = Background(loop.run_forever)
    futures = [asyncio.run_coroutine_threadsafe(work(number), loop) for number in range(5)]
    results = [future.result(LONG) for future in futures]
    loop.call_soon_threadsafe(loop.stop)
    result = thread.result()
    loop.close()
    return results, result, state()


def case_debug_mode_knows_threads() -> Any:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 2 * LONG
        thread = Background(loop.call_soon, print)
        return thread.result()

    return asyncio.run(main(), debug=True)


def case_lock_shared_by_loops() -> Any:
    lock = threading.Lock()
    inside: list[int] = []

    async def main(number: int) -> None:
        for _ in range(5):
            with lock:
                inside.append(number)
                time.sleep(0.0005)
                inside.append(number)
            await asyncio.sleep(0)

    threads = [Background(asyncio.run, main(number)) for number in range(4)]
    results = [thread.result() for thread in threads]
    return results, all(a == b for a, b in zip(inside[::2], inside[1::2], strict=True)), len(inside)


# ---- Inside one loop -------------------------------------------------------------------------------


def case_gather_and_time_outs() -> Any:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("failed")

    async def main() -> Any:
        done = await asyncio.gather(
            asyncio.sleep(0.002, 1), asyncio.sleep(0.001, 2), fail(), return_exceptions=True
        )
        try:
            await asyncio.wait_for(asyncio.sleep(LONG), SHORT)
        except asyncio.TimeoutError:
            return repr(done), "timed out"
        return repr(done)

    return asyncio.run(main())


def case_runner() -> Any:
    make: Any = getattr(asyncio, "Runner", None)
    if make is None:
        return "none"
    with make(debug=True) as runner:
        runner.get_loop().slow_callback_duration = 2 * LONG
        first = runner.run(asyncio.sleep(0.001, "first"))
        between = state()
        second = runner.run(asyncio.sleep(0, "second"), context=contextvars.copy_context())
        same = runner.get_loop() is runner.get_loop()
    return first, between, second, same, outcome(runner.get_loop)


def case_task_group() -> Any:
    make: Any = getattr(asyncio, "TaskGroup", None)
    if make is None:
        return "none"

    async def main() -> Any:
        async with make() as group:
            tasks = [group.create_task(asyncio.sleep(0.001, n)) for n in range(3)]
        return [task.result() for task in tasks]

    return asyncio.run(main())


def case_fork_in_a_coroutine() -> Any:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # faulthandler's thread counts, in some versions
            pid = os.fork()
        if pid == 0:
            try:
                time.sleep(0.001)
                os._exit(10 if state()[0].startswith("builtins.RuntimeError") else 11)
            finally:
                os._exit(12)
        status = os.waitpid(pid, 0)[1]
        return os.waitstatus_to_exitcode(status), is_here(loop, asyncio.current_task())

    return asyncio.run(main())


# ---- Input and output --------------------------------------------------------------------------------


async def echo_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.readline()).upper())
    await writer.drain()
    writer.close()
    await writer.wait_closed()


def case_streams_between_two_threads() -> Any:
    address: list[Any] = []
    ready, done = threading.Event(), threading.Event()

    async def serve() -> Any:
        server = await asyncio.start_server(echo_once, "127.0.0.1", 0)
        async with server:
            address.append(server.sockets[0].getsockname())
            ready.set()
            while not done.is_set():
                await asyncio.sleep(0.001)
        return "served"

    async def talk(text: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*address[0][:2])
        writer.write(text + b"\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    async def talk_all() -> Any:
        return await asyncio.gather(*(talk(b"hello %d" % n) for n in range(10)))

    server = Background(asyncio.run, serve())
    ready.wait(LONG)
    clients = [Background(asyncio.run, talk_all()) for _ in range(2)]
    results = [client.result() for client in clients]
    done.set()
    return results, server.result()


def case_stream_and_blocking_client() -> Any:
    address: list[Any] = []
    ready = threading.Event()

    async def serve() -> None:
        finished = asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await echo_once(reader, writer)
            finished.set()

        async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
            address.append(server.sockets[0].getsockname())
            ready.set()
            await finished.wait()

    server = Background(asyncio.run, serve())
    ready.wait(LONG)
    with socket.create_connection(address[0], LONG) as client, client.makefile("rwb") as file:
        file.write(b"a line\n")
        file.flush()
        answer = file.readline()
    return answer, server.result()


def case_sockets_of_a_loop() -> Any:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        with socket.socket() as listener, socket.socket() as client:
            for each in (listener, client):
                each.setblocking(False)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            accepting = asyncio.ensure_future(loop.sock_accept(listener))
            await loop.sock_connect(client, listener.getsockname())
            server, _ = await accepting
            with server:
                sending = asyncio.ensure_future(loop.sock_sendall(client, b"x" * 1_000_000))
                count = 0
                while count < 1_000_000:
                    count += len(await loop.sock_recv(server, 65536))
                await sending
                receiving = asyncio.ensure_future(loop.sock_recv(client, 10))
                await asyncio.sleep(0.001)
                refused = outcome(client.recv, 10)
                await loop.sock_sendall(server, b"late")
                return count, refused, await receiving

    return asyncio.run(main())


def answer_question(sock: socket.socket) -> bytes:
    question = sock.recv(10)
    sock.sendall(b"answer")
    return question


def case_blocking_calls_on_a_pair_in_a_coroutine() -> Any:
    """The same sockets, now by a loop and now by blocking calls, which share their readiness."""

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        first, second = socket.socketpair()
        with first, second:
            thread = Background(answer_question, second)
            first.sendall(b"question")
            answer = first.recv(100)  # blocks the loop only
            for each in (first, second):
                each.setblocking(False)
            waiting = asyncio.ensure_future(loop.sock_recv(first, 100))
            await asyncio.sleep(0.001)
            await loop.sock_sendall(second, b"more")
            return answer, await waiting, thread.result()

    return asyncio.run(main())


def case_datagrams() -> Any:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        got: asyncio.Future[bytes] = loop.create_future()

        class Server(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, _address: Any) -> None:
                got.set_result(data)

        server, _ = await loop.create_datagram_endpoint(Server, ("127.0.0.1", 0))
        client, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=server.get_extra_info("sockname")
        )
        client.sendto(b"datagram")
        try:
            return await asyncio.wait_for(got, LONG)
        finally:
            client.close()
            server.close()
            await asyncio.sleep(0)

    return asyncio.run(main())


def case_subprocess() -> Any:
    return run_child(execute("import sys; sys.stdout.write(sys.stdin.read()[::-1]); sys.exit(3)"))


def case_subprocess_of_a_thread() -> Any:
    return Background(run_child, execute("import sys; sys.exit(4)")).result()


def case_subprocess_failing_to_start() -> Any:
    async def main() -> Any:
        try:
            await asyncio.create_subprocess_exec("/nonexistent/program")
        except OSError as error:
            return repr(error)
        return "started"

    return run_child(main())


def case_names() -> Any:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        return await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)

    return asyncio.run(main())


# ---- Signals -----------------------------------------------------------------------------------------


def with_signal(main: Callable[[asyncio.Event], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        loop = asyncio.get_running_loop()
        came = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, came.set)
        try:
            return await main(came)
        finally:
            loop.remove_signal_handler(signal.SIGUSR1)

    return asyncio.run(run())


def case_signal_handler() -> Any:
    async def main(came: asyncio.Event) -> Any:
        send_soon(signal.SIGUSR1).result()
        await asyncio.wait_for(came.wait(), LONG)
        return "came"

    return with_signal(main)


def case_signal_handler_while_the_loop_waits() -> Any:
    async def main(came: asyncio.Event) -> Any:
        thread = send_soon(signal.SIGUSR1)
        await asyncio.wait_for(came.wait(), LONG)
        return thread.result()

    return with_signal(main)


def case_signal_handler_in_a_thread() -> Any:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        return outcome(loop.add_signal_handler, signal.SIGUSR1, print)

    return Background(asyncio.run, main()).result()


def case_python_handler_sees_the_loop() -> Any:
    """A handler is called between two steps of main: what is running there is still running."""
    seen: list[bool] = []
    loops: list[Any] = []

    def handle(*_: Any) -> None:
        seen.append(asyncio.get_running_loop() is loops[0])

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        thread = send_soon(signal.SIGUSR1)
        time.sleep(5 * SHORT)
        thread.result()

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        asyncio.run(main())
    finally:
        signal.signal(signal.SIGUSR1, before)
    return seen


def case_keyboard_interrupt() -> Any:
    events: list[str] = []

    threads: list[Background] = []

    async def main() -> None:
        threads.append(send_soon(signal.SIGINT))
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            events.append("cancelled")
            raise

    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        events.append("interrupted")
    return events, [thread.result() for thread in threads], state()


def case_keyboard_interrupt_in_a_blocking_call() -> Any:
    events: list[str] = []
    threads: list[Background] = []

    async def main() -> None:
        threads.append(send_soon(signal.SIGINT))
        try:
            while threads[0].is_alive():
                time.sleep(10 * SHORT)
            events.append("slept")
            await asyncio.sleep(LONG)
        except BaseException as error:
            events.append(type(error).__name__)
            raise

    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        events.append("interrupted")
    return events, [thread.result() for thread in threads], state()

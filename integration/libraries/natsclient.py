"""nats-py, which is asyncio, as threads use it: an event loop in a thread of its own, asked by others.

Rule: this is what `docs/libraries.md` tells users to do, and no more.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from integration.libraries.harness import NATS, PATIENCE, library


class Client:
    """A synchronous face of nats-py.

    Args:
        options: of ``nats.connect``.
    """

    def __init__(self, address: tuple[str, int] | None = None, **options: Any) -> None:
        nats = library("nats", "nats-py")
        host, port = address or NATS.address()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        try:
            self.connection = self.run(
                nats.connect(f"nats://{host}:{port}", **{"connect_timeout": PATIENCE, **options})
            )
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def run(self, coroutine: Any) -> Any:
        """What the coroutine returns, awaited in the loop's thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    def ask(self, subject: str, body: bytes, timeout: float = PATIENCE) -> bytes:
        """The answer to a request."""
        message = self.run(self.connection.request(subject, body, timeout=timeout))
        return bytes(message.data)

    def close(self) -> None:
        """The connection and the loop have ended."""
        self.run(self.connection.close())
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

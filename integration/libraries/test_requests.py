"""requests against http.server."""

from __future__ import annotations

from typing import Any

import pytest

from integration.libraries.harness import (
    PATIENCE,
    Library,
    Relay,
    as_soon_as,
    killed_in,
    library,
    overlapping,
    together,
)
from integration.libraries.webserver import CERTIFICATE, web_server

LIBRARY = Library(
    name="requests",
    package="requests",
    how="sockets",
    know="",
    server="http.server",
)

requests = library("requests", "requests")
library("requests.adapters", "requests")


def test_requests_overlap() -> None:
    with web_server() as server, requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=20))
        with overlapping(0.4):
            answers = together(10, lambda number: session.get(f"{server.url}/sleep/0.4").content)
        assert answers == [b"0.4"] * 10


def test_tls_and_streaming() -> None:
    with web_server(tls=True) as server:
        url = f"https://localhost:{server.server_port}/bytes/200000"

        def read(number: int) -> int:
            with requests.get(
                url, verify=str(CERTIFICATE), stream=True, timeout=PATIENCE
            ) as answer:
                return sum(len(part) for part in answer.iter_content(10_000))

        assert together(8, read) == [200_000] * 8


def test_faults() -> None:
    with web_server() as server, Relay(("127.0.0.1", server.server_port)) as relay:
        url = f"http://{relay.address[0]}:{relay.address[1]}"
        with overlapping(0.3), pytest.raises(requests.exceptions.ReadTimeout):
            requests.get(url + "/hang", timeout=(PATIENCE, 0.3))
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
            requests.get(url + "/cut", timeout=PATIENCE)
        as_soon_as(lambda: server.hanging == 2, relay.reset)
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(url + "/hang", timeout=PATIENCE)


def test_killed_in_a_request() -> None:
    with web_server() as server, requests.Session() as session:

        def get(path: str) -> Any:
            return session.get(server.url + path).text

        assert get("/first") == "/first"
        killed_in(lambda: get("/hang"), lambda: server.hanging)
        assert get("/right") == "/right"
        assert len(server.accepted) == 2


def test_killed_in_the_middle_of_an_answer() -> None:
    with (
        web_server() as server,
        Relay(("127.0.0.1", server.server_port)) as relay,
        requests.Session() as session,
    ):

        def get(path: str) -> Any:
            return session.get(f"http://{relay.address[0]}:{relay.address[1]}{path}").text

        assert get("/first") == "/first"
        relay.hold(after=1000)
        killed_in(lambda: get("/bytes/100000"), lambda: relay.holding)
        relay.release()
        assert get("/right") == "/right"
        assert relay.connections == 2


def test_pool_is_exhausted() -> None:
    """Who finds no connection waits for one, if the adapter is told so."""
    with web_server() as server, requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=2, pool_block=True))
        with overlapping(0.4):
            answers = together(8, lambda number: session.get(f"{server.url}/sleep/0.1").content)
        assert answers == [b"0.1"] * 8
        assert len(server.accepted) == 2

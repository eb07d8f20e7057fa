"""requests against http.server."""

from __future__ import annotations

from typing import Any

import pytest

import graftlet
from integration.libraries.harness import (
    Library,
    Relay,
    killed_in,
    library,
    overlapping,
    together,
)
from integration.libraries.webserver import CERTIFICATE, web_server

LIBRARY = Library(
    name="requests",
    package="requests",
    tested="2.34.2",
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
            with requests.get(url, verify=str(CERTIFICATE), stream=True, timeout=20) as answer:
                return sum(len(part) for part in answer.iter_content(10_000))

        assert together(8, read) == [200_000] * 8


def test_faults() -> None:
    with web_server() as server, Relay(("127.0.0.1", server.server_port)) as relay:
        url = f"http://{relay.address[0]}:{relay.address[1]}"
        with overlapping(0.3), pytest.raises(requests.exceptions.ReadTimeout):
            requests.get(url + "/hang", timeout=0.3)
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
            requests.get(url + "/cut", timeout=5)
        graftlet.spawn_later(0.2, relay.reset)
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(url + "/hang", timeout=5)


def test_killed_in_a_request() -> None:
    with web_server() as server, requests.Session() as session:

        def get(path: str) -> Any:
            return session.get(server.url + path).text

        assert get("/first") == "/first"
        killed_in(lambda: get("/sleep/0.4"))
        assert get("/right") == "/right"
        assert len(server.accepted) == 2

"""urllib3 against http.server: pools, retries, TLS, proxies, streaming."""

from __future__ import annotations

from typing import Any

import pytest

import graftlet
from integration.libraries.harness import (
    Library,
    Relay,
    as_soon_as,
    eventually,
    killed_in,
    library,
    no_stall,
    overlapping,
    together,
)
from integration.libraries.webserver import CERTIFICATE, web_server

LIBRARY = Library(
    name="urllib3",
    package="urllib3",
    how="sockets",
    know="A connection whose greenlet was killed in a request does not go back to the pool.",
    server="http.server",
)

urllib3 = library("urllib3", "urllib3")


def test_requests_overlap_and_connections_are_used_again() -> None:
    with web_server() as server, urllib3.PoolManager(maxsize=20) as pool:

        def get(path: str) -> bytes:
            return bytes(pool.request("GET", server.url + path).data)

        with overlapping(0.4):
            assert together(20, lambda number: get("/sleep/0.4")) == [b"0.4"] * 20
        answers = together(20, lambda number: get(f"/{number}"))
        assert answers == [b"/%d" % number for number in range(20)]
        assert len(server.accepted) == 20


def test_pool_is_exhausted() -> None:
    with web_server() as server:
        pool = urllib3.HTTPConnectionPool("127.0.0.1", server.server_port, maxsize=2, block=True)
        with overlapping(0.4):
            assert (
                together(8, lambda number: pool.request("GET", "/sleep/0.1").data) == [b"0.1"] * 8
            )
        assert len(server.accepted) == 2
        busy = [graftlet.spawn(pool.request, "GET", "/hang") for _ in range(2)]
        eventually(lambda: server.hanging == 2)
        with overlapping(0.2), pytest.raises(urllib3.exceptions.EmptyPoolError):
            pool.request("GET", "/", pool_timeout=0.2)
        graftlet.killall(busy)
        pool.close()


def test_tls() -> None:
    with (
        web_server(tls=True) as server,
        urllib3.PoolManager(ca_certs=str(CERTIFICATE), maxsize=8) as pool,
    ):
        url = f"https://localhost:{server.server_port}/echo"

        def post(number: int) -> bytes:
            return bytes(pool.request("POST", url, body=b"%d" % number * 50_000).data)

        assert together(8, post) == [b"%d" % number * 50_000 for number in range(8)]
    with (
        web_server(tls=True) as server,
        urllib3.PoolManager(retries=False) as pool,
        pytest.raises(urllib3.exceptions.SSLError),
    ):
        pool.request("GET", f"https://localhost:{server.server_port}/")


def test_streaming() -> None:
    with web_server() as server, urllib3.PoolManager(maxsize=8) as pool:

        def read(number: int) -> int:
            answer = pool.request("GET", server.url + "/bytes/1000000", preload_content=False)
            size = sum(len(part) for part in answer.stream(10_000))
            answer.release_conn()
            return size

        with no_stall():
            assert together(8, read) == [1_000_000] * 8


def test_proxy() -> None:
    # http.server takes the whole address for a path, as a proxy would: enough to see it arrive.
    with web_server() as server, urllib3.ProxyManager(server.url) as proxy:
        answers = together(8, lambda number: proxy.request("GET", f"http://nowhere/{number}").data)
        assert answers == [b"http://nowhere/%d" % number for number in range(8)]


def test_retries() -> None:
    with web_server() as server, urllib3.PoolManager() as pool:
        retries = urllib3.Retry(3, status_forcelist=[503], backoff_factor=0.1)
        with no_stall():
            assert pool.request("GET", server.url + "/flaky", retries=retries).status == 200
        with pytest.raises(urllib3.exceptions.MaxRetryError):
            pool.request("GET", server.url + "/status/503", retries=retries)


def test_faults() -> None:
    with web_server() as server, Relay(("127.0.0.1", server.server_port)) as relay:
        url = f"http://{relay.address[0]}:{relay.address[1]}"
        with urllib3.PoolManager(retries=False) as pool:
            with overlapping(0.3), pytest.raises(urllib3.exceptions.ReadTimeoutError):
                pool.request("GET", url + "/hang", timeout=urllib3.Timeout(read=0.3))
            with pytest.raises(urllib3.exceptions.ProtocolError):
                pool.request("GET", url + "/cut")
            as_soon_as(lambda: server.hanging == 2, relay.reset)
            with pytest.raises(urllib3.exceptions.ProtocolError):
                pool.request("GET", url + "/hang")


def test_killed_in_a_request() -> None:
    with web_server() as server, urllib3.PoolManager(maxsize=1) as pool:

        def get(path: str) -> Any:
            return pool.request("GET", server.url + path).data

        assert get("/first") == b"/first"
        killed_in(lambda: get("/hang"), lambda: server.hanging)
        assert get("/right") == b"/right"
        assert len(server.accepted) == 2


def test_killed_in_the_middle_of_an_answer() -> None:
    with (
        web_server() as server,
        Relay(("127.0.0.1", server.server_port)) as relay,
        urllib3.PoolManager(maxsize=1) as pool,
    ):

        def get(path: str) -> Any:
            return pool.request("GET", f"http://{relay.address[0]}:{relay.address[1]}{path}").data

        assert get("/first") == b"/first"
        relay.hold(after=1000)
        killed_in(lambda: get("/bytes/100000"), lambda: relay.holding)
        relay.release()
        assert get("/right") == b"/right"
        assert relay.connections == 2

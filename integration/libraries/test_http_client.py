"""http.client and urllib.request against http.server: all of it is the standard library's own."""

from __future__ import annotations

import http.client
import ssl
import urllib.request

import pytest

from integration.libraries.harness import (
    PATIENCE,
    Library,
    Relay,
    as_soon_as,
    killed_in,
    overlapping,
    together,
)
from integration.libraries.webserver import CERTIFICATE, web_server

LIBRARY = Library(
    name="http.client, urllib.request, http.server",
    package="",
    how="sockets",
    know="",
    server="each other",
)


def test_requests_overlap() -> None:
    with web_server() as server, overlapping(0.4):

        def get(number: int) -> bytes:
            with urllib.request.urlopen(f"{server.url}/sleep/0.4") as answer:
                return bytes(answer.read())

        assert together(20, get) == [b"0.4"] * 20


def test_tls() -> None:
    with web_server(tls=True) as server:
        context = ssl.create_default_context(cafile=str(CERTIFICATE))

        def get(number: int) -> bytes:
            connection = http.client.HTTPSConnection(
                "localhost", server.server_port, context=context, timeout=PATIENCE
            )
            connection.request("POST", "/echo", body=b"%d" % number * 50_000)
            body = connection.getresponse().read()
            connection.close()
            return body

        assert together(8, get) == [b"%d" % number * 50_000 for number in range(8)]


def test_faults() -> None:
    with web_server() as server, Relay(("127.0.0.1", server.server_port)) as relay:
        connection = http.client.HTTPConnection(*relay.address, timeout=PATIENCE)
        connection.connect()
        connection.sock.settimeout(0.3)
        connection.request("GET", "/hang")
        with overlapping(0.3), pytest.raises(TimeoutError):
            connection.getresponse()
        connection.close()
        connection.request("GET", "/cut")
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            connection.getresponse().read()
        connection.close()
        connection.request("GET", "/hang")
        as_soon_as(lambda: server.hanging == 2, relay.reset)
        with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
            connection.getresponse()
        connection.close()


def test_killed_in_a_request() -> None:
    with web_server() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port)

        def get(path: str) -> bytes:
            connection.request("GET", path)
            return connection.getresponse().read()

        killed_in(lambda: get("/hang"), lambda: server.hanging)
        # http.client knows that an answer is missing.
        with pytest.raises(http.client.CannotSendRequest):
            get("/right")
        connection.close()
        assert get("/right") == b"/right"
        connection.close()

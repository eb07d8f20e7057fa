"""paho-mqtt against Mosquitto."""

from __future__ import annotations

import queue
import threading
from typing import Any

import graftlet
from integration.libraries.harness import (
    MOSQUITTO,
    Library,
    Relay,
    eventually,
    library,
    no_stall,
    together,
)

LIBRARY = Library(
    name="paho-mqtt",
    package="paho-mqtt",
    tested="2.2.0",
    how="sockets",
    know="",
    server="Mosquitto 2.0",
)

mqtt = library("paho.mqtt.client", "paho-mqtt")


def connect(address: tuple[str, int] | None = None, **options: Any) -> Any:
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    for name, value in options.items():
        setattr(client, name, value)
    host, port = address or MOSQUITTO.address()
    client.connect(host, port, keepalive=1)
    client.loop_start()
    assert connected.wait(10)
    return client


def disconnect(client: Any) -> None:
    client.disconnect()
    client.loop_stop()


def test_many_clients_publish_and_one_hears_them() -> None:
    heard: queue.Queue[int] = queue.Queue()
    subscribed = threading.Event()
    listener = connect(
        on_message=lambda client, data, message: heard.put(int(message.payload)),
        on_subscribe=lambda *_: subscribed.set(),
    )
    listener.subscribe("graftlet/numbers", qos=1)
    assert subscribed.wait(10)

    def publish(number: int) -> None:
        client = connect()
        for each in range(10):
            client.publish("graftlet/numbers", number * 10 + each, qos=1).wait_for_publish(10)
        disconnect(client)

    together(10, publish)
    assert sorted(heard.get(timeout=10) for _ in range(100)) == list(range(100))
    disconnect(listener)


def test_keep_alive() -> None:
    """Every second: without it the server closes the connection after one and a half."""
    lost: list[Any] = []
    clients = [connect(on_disconnect=lambda *args: lost.append(args)) for _ in range(5)]
    with no_stall():
        graftlet.sleep(4)
    assert not lost
    for client in clients:
        disconnect(client)


def test_connection_is_reset_and_comes_back() -> None:
    with Relay(MOSQUITTO.address()) as relay:
        times: list[int] = []
        client = connect(relay.address)
        client.reconnect_delay_set(1, 1)
        client.on_connect = lambda *_: times.append(1)
        relay.reset()
        eventually(lambda: times)
        assert relay.connections == 2
        disconnect(client)

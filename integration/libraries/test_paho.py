"""paho-mqtt against Mosquitto."""

from __future__ import annotations

import queue
import threading
from typing import Any

import graftlet
from integration.libraries.harness import (
    MOSQUITTO,
    PATIENCE,
    Library,
    Relay,
    eventually,
    killed_in,
    library,
    no_stall,
    overlapping,
    together,
)

LIBRARY = Library(
    name="paho-mqtt",
    package="paho-mqtt",
    how="sockets",
    know="",
    server="Mosquitto 2.0",
)

mqtt = library("paho.mqtt.client", "paho-mqtt")


def connect(address: tuple[str, int] | None = None, **options: Any) -> Any:
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    keepalive = options.pop("keepalive", 60)
    for name, value in options.items():
        setattr(client, name, value)
    host, port = address or MOSQUITTO.address()
    client.connect(host, port, keepalive=keepalive)
    client.loop_start()
    assert connected.wait(PATIENCE)
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
    assert subscribed.wait(PATIENCE)

    def publish(number: int) -> None:
        client = connect()
        for each in range(10):
            client.publish("graftlet/numbers", number * 10 + each, qos=1).wait_for_publish(PATIENCE)
        disconnect(client)

    together(10, publish)
    assert sorted(heard.get(timeout=PATIENCE) for _ in range(100)) == list(range(100))
    disconnect(listener)


def test_keep_alive() -> None:
    """Every two seconds: without it the server closes the connection after three."""
    lost: list[Any] = []
    clients = [
        connect(keepalive=2, on_disconnect=lambda *args: lost.append(args)) for _ in range(5)
    ]
    with no_stall():
        graftlet.sleep(7)
    assert not lost
    for client in clients:
        disconnect(client)


def test_waits_overlap() -> None:
    """For acknowledgements that do not come, as long as the program says."""

    def wait(client: Any) -> bool:
        late = client.publish("graftlet/late", 1, qos=1)
        late.wait_for_publish(0.5)
        return bool(late.is_published())

    with Relay(MOSQUITTO.address()) as relay:
        clients = [connect(relay.address) for _ in range(10)]
        relay.hold()
        with overlapping(0.5):
            assert together(10, lambda number: wait(clients[number])) == [False] * 10
        relay.release()
        for client in clients:
            disconnect(client)


def test_a_silent_server_is_noticed() -> None:
    """It is asked every second, and must answer in one."""
    reasons: list[str] = []
    with Relay(MOSQUITTO.address()) as relay:
        client = connect(
            relay.address,
            keepalive=1,
            on_disconnect=lambda client, data, flags, reason, more: reasons.append(str(reason)),
        )
        relay.silent()
        with no_stall():
            eventually(lambda: reasons)
        assert reasons[0] == "Keep alive timeout"
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


def test_killed_while_it_waits_for_an_acknowledgement() -> None:
    with Relay(MOSQUITTO.address()) as relay:
        client = connect(relay.address)
        relay.hold()
        late = client.publish("graftlet/late", 1, qos=1)
        killed_in(late.wait_for_publish, lambda: relay.holding)
        assert not late.is_published()
        relay.release()
        late.wait_for_publish(PATIENCE)
        client.publish("graftlet/late", 2, qos=1).wait_for_publish(PATIENCE)
        assert late.is_published()
        disconnect(client)


def test_killed_in_the_middle_of_a_message() -> None:
    """What paho-mqtt has read of it is kept in the client: whoever runs its loop next reads the rest."""
    heard: list[bytes] = []
    subscribed = threading.Event()
    publisher = connect()
    with Relay(MOSQUITTO.address()) as relay:
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        client.on_connect = lambda *_: client.subscribe("graftlet/long")
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = lambda client, data, message: heard.append(message.payload)
        client.connect(*relay.address)
        looping = graftlet.spawn(client.loop_forever)
        assert subscribed.wait(PATIENCE)
        looping.kill(block=True)
        relay.hold(after=100)
        publisher.publish("graftlet/long", b"x" * 1000, qos=1).wait_for_publish(PATIENCE)
        killed_in(client.loop_forever, lambda: relay.holding)
        assert not heard
        relay.release()
        publisher.publish("graftlet/long", b"y" * 1000, qos=1).wait_for_publish(PATIENCE)
        looping = graftlet.spawn(client.loop_forever)
        eventually(lambda: heard == [b"x" * 1000, b"y" * 1000])
        client.disconnect()
        looping.get()
        assert relay.connections == 1
    disconnect(publisher)

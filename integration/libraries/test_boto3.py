"""boto3 against moto's server, which runs as a program of its own, under the launcher, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import graftlet
from integration.libraries.harness import (
    Library,
    Relay,
    killed_in,
    library,
    no_stall,
    overlapping,
    together,
)
from integration.libraries.programs import free_port, running

LIBRARIES = [
    Library(
        name="boto3",
        package="boto3",
        how="sockets",
        know="A client may be used by many threads; `max_pool_connections` (10) bounds its connections. "
        "`upload_file` and its like use threads of their own.",
        server="moto",
    ),
    Library(
        name="moto (server)",
        package="moto",
        how="sockets",
        know="",
        server="",
    ),
]

boto3 = library("boto3", "boto3")
config = library("botocore.config", "boto3")
exceptions = library("botocore.exceptions", "boto3")

OPTIONS = {
    "region_name": "eu-central-1",
    "aws_access_key_id": "none",
    "aws_secret_access_key": "none",
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    library("flask_cors", "flask-cors")
    library("moto.server", "moto[s3]")
    port = free_port()
    directory: Path = tmp_path_factory.mktemp("moto")
    with running("-m", "moto.server", "-p", str(port), directory=directory, port=port):
        yield "127.0.0.1", port


def connect(service: str, address: tuple[str, int], **options: Any) -> Any:
    return boto3.client(
        service,
        endpoint_url=f"http://{address[0]}:{address[1]}",
        config=config.Config(max_pool_connections=20, **options),
        **OPTIONS,
    )


def test_objects(address: tuple[str, int], tmp_path: Path) -> None:
    client = connect("s3", address)
    client.create_bucket(
        Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    together(10, lambda n: client.put_object(Bucket="bucket", Key=str(n), Body=b"%d" % n * 10_000))
    bodies = together(10, lambda n: client.get_object(Bucket="bucket", Key=str(n))["Body"].read())
    assert bodies == [b"%d" % n * 10_000 for n in range(10)]
    # In several parts, each by a thread of boto3's own.
    (tmp_path / "large").write_bytes(b"x" * 20_000_000)
    client.upload_file(str(tmp_path / "large"), "bucket", "large")
    client.download_file("bucket", "large", str(tmp_path / "copy"))
    assert (tmp_path / "copy").stat().st_size == 20_000_000
    client.close()


def test_queue_waits_overlap(address: tuple[str, int]) -> None:
    client = connect("sqs", address)
    url = client.create_queue(QueueName="queue")["QueueUrl"]

    def receive(number: int) -> int:
        answer = client.receive_message(QueueUrl=url, WaitTimeSeconds=2)
        return len(answer.get("Messages", []))

    assert receive(0) == 0
    with overlapping(2, work=1):
        assert together(8, receive) == [0] * 8
    client.close()


def test_its_own_time_out(address: tuple[str, int]) -> None:
    with Relay(address) as relay:
        relay.silent()
        client = connect("sqs", relay.address, read_timeout=0.3, retries={"max_attempts": 0})
        with overlapping(0.3), pytest.raises(exceptions.ReadTimeoutError):
            client.list_queues()
        client.close()


def test_connection_is_reset(address: tuple[str, int]) -> None:
    with Relay(address) as relay:
        client = connect("sqs", relay.address, retries={"max_attempts": 0})
        url = client.create_queue(QueueName="reset")["QueueUrl"]

        def reset() -> None:
            while True:  # what has not been asked yet would be asked on a new connection
                graftlet.sleep(0.2)
                relay.reset()

        resetting = graftlet.spawn(reset)
        with pytest.raises((exceptions.HTTPClientError, exceptions.EndpointConnectionError)):
            client.receive_message(QueueUrl=url, WaitTimeSeconds=5)
        resetting.kill(block=True)
        assert "QueueUrl" in client.get_queue_url(QueueName="reset")
        client.close()


def test_killed_in_the_middle_of_an_answer(address: tuple[str, int]) -> None:
    direct = connect("s3", address)
    direct.create_bucket(
        Bucket="half", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    for name, body in (("long", b"x" * 100_000), ("right", b"right")):
        direct.put_object(Bucket="half", Key=name, Body=body)
    direct.close()
    with Relay(address) as relay:
        client = connect("s3", relay.address)

        def get(name: str) -> bytes:
            return bytes(client.get_object(Bucket="half", Key=name)["Body"].read())

        assert get("right") == b"right"
        relay.hold(after=1000)
        killed_in(lambda: get("long"), lambda: relay.holding)
        relay.release()
        assert get("right") == b"right"
        client.close()


def test_server_is_restarted(tmp_path: Path) -> None:
    port = free_port()
    address = "127.0.0.1", port
    client = connect("sqs", address, retries={"max_attempts": 0})

    def serving() -> Any:
        return running("-m", "moto.server", "-p", str(port), directory=tmp_path, port=port)

    with serving() as program:
        url = client.create_queue(QueueName="queue")["QueueUrl"]
        with no_stall():
            killer = graftlet.spawn_later(0.2, program.kill)
            with pytest.raises((exceptions.HTTPClientError, exceptions.EndpointConnectionError)):
                client.receive_message(QueueUrl=url, WaitTimeSeconds=10)
            killer.join()
            with pytest.raises(exceptions.EndpointConnectionError):
                client.list_queues()
    with serving():
        assert client.create_queue(QueueName="queue")["QueueUrl"] == url
    client.close()


def test_killed_in_a_request(address: tuple[str, int]) -> None:
    client = connect("sqs", address)
    url = client.create_queue(QueueName="other")["QueueUrl"]
    killed_in(lambda: client.receive_message(QueueUrl=url, WaitTimeSeconds=5))
    assert "QueueUrl" in client.get_queue_url(QueueName="other")
    client.close()

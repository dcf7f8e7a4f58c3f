"""The client that connects to no address that was not looked at, with real connections."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from libs.outbound.client import Client, OutboundError, PrivateHostError, Request, TimeoutExceededError, TooLargeError
from libs.testing.origin import OK, Origin, origin


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = Client()
    yield made
    await made.close()


def asked(found: Origin, *, method: str = "GET", private: bool = True, seconds: float = 30, most: int = 1000) -> Request:
    return Request(
        method=method,
        scheme="http",
        host="127.0.0.1",
        port=found.port,
        target=b"/a?b=c",
        headers=[(b"x-own", b"1")],
        body=b"body" if method == "POST" else b"",
        seconds=seconds,
        max_response_bytes=most,
        private=private,
    )


async def test_a_request_is_sent_as_it_was_meant(client: Client) -> None:
    async with origin() as found:
        response = await client.send(asked(found, method="POST"))
    assert (response.status, response.body) == (200, b"ok")
    head, body = found.requests[0]
    assert head.startswith("post /a?b=c http/1.1\r\n")
    assert f"host: 127.0.0.1:{found.port}\r\n" in head
    assert "x-own: 1\r\n" in head
    assert body == b"body"


async def test_no_connection_is_made_when_the_address_is_private(client: Client) -> None:
    async with origin() as found:
        with pytest.raises(PrivateHostError, match="private host not allowed"):
            await client.send(asked(found, private=False))
    assert found.connections == 0


async def test_no_connection_is_made_when_one_of_a_name_s_addresses_is_private() -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["93.184.216.34", "::ffff:127.0.0.1"]

    client = Client(resolve=resolve)
    async with origin() as found:
        request = Request(
            method="GET", scheme="http", host="rebind.test", port=found.port, target=b"/", seconds=30, max_response_bytes=10
        )
        with pytest.raises(PrivateHostError):
            await client.send(request)
    assert found.connections == 0
    await client.close()


async def test_a_name_is_looked_up_once_for_a_connection_and_that_address_is_used() -> None:
    looked: list[str] = []

    async def resolve(host: str, _port: int) -> Sequence[str]:
        looked.append(host)
        return ["127.0.0.1"]

    client = Client(resolve=resolve)
    async with origin() as found:
        request = Request(
            method="GET",
            scheme="http",
            host="name.test",
            port=found.port,
            target=b"/",
            seconds=30,
            max_response_bytes=10,
            private=True,
        )
        assert (await client.send(request)).body == b"ok"
    assert looked == ["name.test"]
    assert f"host: name.test:{found.port}" in found.requests[0][0]
    await client.close()


async def test_a_connection_with_leave_for_private_networks_serves_no_request_without(client: Client) -> None:
    async with origin() as found:
        await client.send(asked(found))
        with pytest.raises(PrivateHostError):
            await client.send(asked(found, private=False))
    assert len(found.requests) == 1


async def test_a_redirect_is_an_answer_and_is_not_followed(client: Client) -> None:
    location = b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n"
    async with origin(lambda _: location) as found:
        response = await client.send(asked(found))
    assert (response.status, dict(response.headers)[b"location"]) == (302, b"http://169.254.169.254/")
    assert len(found.requests) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n" + b"x" * 1001,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n",
    ],
    ids=["announced", "in chunks"],
)
async def test_an_answer_is_refused_when_it_is_too_large(client: Client, data: bytes) -> None:
    async with origin(lambda _: data) as found:
        with pytest.raises(TooLargeError, match="response too large"):
            await client.send(asked(found))


async def test_an_answer_to_head_is_taken_whatever_length_it_announces(client: Client) -> None:
    async with origin(lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n") as found:
        response = await client.send(asked(found, method="HEAD"))
    assert (response.status, response.body) == (200, b"")


async def test_an_answer_is_given_up_when_its_time_is_spent(client: Client) -> None:
    async with origin(lambda _: None) as found:
        with pytest.raises(TimeoutExceededError, match="timeout"):
            await client.send(asked(found, seconds=0.2))


@pytest.mark.parametrize("data", [b"", b"\x00\x01\x02\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"])
async def test_an_answer_that_is_none_is_said_to_be_none(client: Client, data: bytes) -> None:
    async def broken() -> None:
        async with origin(lambda _: data) as found:
            await client.send(asked(found, seconds=0.5))

    with pytest.raises(OutboundError):
        await broken()


async def test_a_host_that_does_not_answer_cannot_be_reached(client: Client) -> None:
    async with origin() as found:
        pass
    with pytest.raises(OutboundError, match=r"127\.0\.0\.1 cannot be reached"):
        await client.send(asked(found))


async def test_a_certificate_that_nobody_vouches_for_is_taken_only_when_that_is_said(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path / "pem"))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            await writer.drain()
        writer.close()

    strict, lax = Client(), Client(verify_tls=False)
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        request = replace(asked(Origin(port=port)), scheme="https")
        with pytest.raises(OutboundError, match=r"127\.0\.0\.1"):
            await strict.send(request)
        assert (await lax.send(request)).body == b"ok"
        await strict.close()
        await lax.close()


def self_signed(path: Path) -> Path:
    """Write a certificate of its own, and its key, into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path

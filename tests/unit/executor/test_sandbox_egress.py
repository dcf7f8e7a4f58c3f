"""The way out of workers that may reach some hosts: which hosts, which addresses, and the whole of it from inside."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.testing.wait import eventually
from services.executor.profile import Profile
from services.executor.sandbox import egress, gate
from services.executor.sandbox.base import Sandbox
from services.executor.sandbox.egress import Host, RefusedError
from tests.unit.executor.inside import Inmate, bare, python, required, running

CLIENT = """
import os, socket, sys
print("ready", flush=True)
for line in sys.stdin:
    target, _, sent = line.strip().partition(" ")
    try:
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as there:
            there.sendall(sent.encode().decode("unicode_escape").encode())
            data = b""
            while piece := there.recv(65536):
                data += piece
                if b"marker" in data or b"not reach" in data or b"names no host" in data:
                    break
        print(repr(data.decode()), flush=True)
    except OSError as error:
        print("failed", error.errno, flush=True)
"""
PROXY = f"127.0.0.1:{egress.PORT}"


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        ("api.example.com", Host("api.example.com")),
        ("API.example.com:8443", Host("api.example.com", 8443)),
        ("*.example.com", Host("example.com", 0, below=True)),
        ("10.0.0.5:80", Host("10.0.0.5", 80)),
        ("[::1]:80", Host("::1", 80)),
    ],
)
def test_entry_of_a_list_is_read(entry: str, host: Host) -> None:
    assert egress.parse(entry) == host


@pytest.mark.parametrize("entry", ["", "*", "http://x", "a b", "x:99999", "a.*.com", "user@host"])
def test_entry_is_refused_when_it_is_no_host(entry: str) -> None:
    with pytest.raises(ValueError, match=r"is not a host|is no port"):
        egress.parse(entry)


@pytest.mark.parametrize(
    ("host", "port", "allowed"),
    [
        ("api.example.com", 443, True),
        ("api.example.com", 80, False),
        ("example.com", 443, False),
        ("a.b.example.org", 1, True),
        ("example.org", 1, False),
        ("badexample.org", 1, False),
        ("api.example.com.evil.net", 443, False),
    ],
)
def test_list_allows_what_it_names(host: str, port: int, *, allowed: bool) -> None:
    hosts = (egress.parse("api.example.com:443"), egress.parse("*.example.org"))
    if allowed:
        egress.admitted(hosts, host, port)
    else:
        with pytest.raises(RefusedError, match="may not reach"):
            egress.admitted(hosts, host, port)


@pytest.mark.parametrize(
    ("entry", "address", "good"),
    [
        ("*.example.com", "93.184.216.34", True),
        ("*.example.com", "10.0.0.1", False),
        ("*.example.com", "127.0.0.1", False),
        ("*.example.com", "::1", False),
        ("*.example.com", "::ffff:127.0.0.1", False),
        ("localhost", "127.0.0.1", True),
        ("db.internal", "10.0.0.1", True),
        ("db.internal", "169.254.169.254", False),
        ("db.internal", "fe80::1", False),
        ("db.internal", "0.0.0.0", False),
        ("169.254.169.254", "169.254.169.254", True),
        ("*.example.com", "168.63.129.16", False),
        ("metadata.example.com", "100.100.100.200", False),
        ("metadata.example.com", "::ffff:169.254.169.254", False),
        ("100.100.100.200", "100.100.100.200", True),
    ],
)
def test_address_is_used_when_it_is_public_or_listed(entry: str, address: str, *, good: bool) -> None:
    assert egress.usable(egress.parse(entry), address) == good


def test_request_is_passed_on_without_what_is_the_proxy_s() -> None:
    head = (
        b"GET http://a.example:81/x?y HTTP/1.1\r\nHost: a.example:81\r\nProxy-Connection: keep-alive\r\nConnection: x\r\n\r\n"
    )
    told = b"GET /x?y HTTP/1.1\r\nHost: a.example:81\r\nConnection: close\r\n\r\n"
    assert egress.request(head) == ("a.example:81", told)
    assert egress.request(b"CONNECT a.example:443 HTTP/1.1\r\n\r\n") == ("a.example:443", b"")


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\r\n\r\n", b"GET ftp://x/ HTTP/1.1\r\n\r\n"])
def test_request_is_refused_when_it_is_none_to_a_proxy(head: bytes) -> None:
    with pytest.raises(RefusedError):
        egress.request(head)


def test_environment_names_the_proxy_for_every_language() -> None:
    told = dict(gate.environment(("example.com",)))
    assert told["HTTP_PROXY"] == told["https_proxy"] == "http://127.0.0.1:3128"
    assert told["NODE_USE_ENV_PROXY"] == "1"
    assert gate.environment(()) == ()


@pytest.fixture
async def server() -> AsyncIterator[int]:
    """A server on the host's loopback; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nmarker")
        await writer.drain()
        writer.close()

    made = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with made:
        yield made.sockets[0].getsockname()[1]


@pytest.fixture(params=["bubblewrap", "bare"])
async def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sandbox]:
    """bubblewrap, as an executor with all means uses it and as one without any."""
    made = await required(tmp_path / "state")
    if made is None:
        pytest.skip("bubblewrap does not work here")
    if request.param == "bare":
        made.close()
        made = bare(tmp_path / "etc")
    yield made
    made.close()


async def ask(inmate: Inmate, target: str, request: str) -> str:
    """Have a request sent from inside and return what came back."""
    await inmate.tell(f"{target} {request}")
    return await inmate.line()


async def test_worker_reaches_listed_hosts_through_the_proxy_and_nothing_else(
    sandbox: Sandbox, server: int, tmp_path: Path
) -> None:
    profile = Profile(hosts=(f"127.0.0.1:{server}",), local=True)
    async with running(sandbox, python(CLIENT), code=tmp_path, profile=profile) as inmate:
        here = f"127.0.0.1:{server}"
        assert "marker" in await ask(inmate, PROXY, rf"GET http://{here}/ HTTP/1.1\r\nHost: {here}\r\n\r\n")
        assert "established" in await ask(inmate, PROXY, rf"CONNECT {here} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")
        other = await ask(inmate, PROXY, rf"CONNECT 127.0.0.1:{server + 1} HTTP/1.1\r\n\r\n")
        assert "403 Forbidden" in other
        assert f"this function may not reach 127.0.0.1:{server + 1}" in other
        assert "403" in await ask(inmate, PROXY, r"CONNECT 169.254.169.254:80 HTTP/1.1\r\n\r\n")
        assert "failed" in await ask(inmate, here, r"GET / HTTP/1.1\r\n\r\n")
        assert "400" in await ask(inmate, PROXY, r"GET / HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize("whole", [False, True])
async def test_list_leads_to_nothing_that_the_fence_keeps_from_workers(server: int, tmp_path: Path, *, whole: bool) -> None:
    made = await required(tmp_path / "state", fenced_ports=() if whole else (server,))
    if made is None:
        pytest.skip("bubblewrap does not work here")
    call = rf"CONNECT localhost:{server} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    named = rf"CONNECT 127.0.0.1:{server} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    hosts = ("localhost", "127.0.0.1")
    try:
        async with (
            running(made, python(CLIENT), code=tmp_path, profile=Profile(hosts=hosts)) as fenced,
            running(made, python(CLIENT), code=tmp_path, profile=Profile(hosts=hosts, local=True)) as local,
        ):
            assert "which this function may not reach" in await ask(fenced, PROXY, call)
            assert "which this function may not reach" in await ask(fenced, PROXY, named)
            other = await ask(fenced, PROXY, r"CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n")
            assert ("403" if whole else "502") in other
            assert "marker" in await ask(local, PROXY, call)
    finally:
        made.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.3.2.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"])
def test_address_of_this_machine_is_known_in_every_form(address: str) -> None:
    assert egress.is_here(address)


def test_address_of_another_machine_is_known() -> None:
    assert not egress.is_here("192.0.2.1")
    assert not egress.is_here("2001:db8::1")


async def test_workers_with_different_lists_do_not_share_a_proxy(sandbox: Sandbox, server: int, tmp_path: Path) -> None:
    here = f"127.0.0.1:{server}"
    call = rf"CONNECT {here} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    async with (
        running(sandbox, python(CLIENT), code=tmp_path, profile=Profile(hosts=(here,), local=True)) as one,
        running(sandbox, python(CLIENT), code=tmp_path, profile=Profile(hosts=("example.com",))) as other,
    ):
        assert "marker" in await ask(one, PROXY, call)
        assert "403" in await ask(other, PROXY, call)


async def test_proxies_end_with_their_workers_and_the_program_with_the_sandbox(
    sandbox: Sandbox, server: int, tmp_path: Path
) -> None:
    here = f"127.0.0.1:{server}"
    for _ in range(3):
        async with running(sandbox, python(CLIENT), code=tmp_path, profile=Profile(hosts=(here,), local=True)) as inmate:
            assert "marker" in await ask(inmate, PROXY, rf"GET http://{here}/ HTTP/1.1\r\n\r\n")
    (program,) = programs()
    held = Path(f"/proc/{program}/fd")
    await eventually(lambda: sum("socket:" in os.readlink(each) for each in held.iterdir()) <= 3)
    sandbox.close()
    assert programs() == []


def programs() -> list[str]:
    """Return the egress programs of this process."""
    mine = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [pid for pid in mine if b"egress.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]

"""`/_fn/secrets` over HTTP, with a registry's vault in memory behind it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest

from libs.bus import rpc
from libs.clock import ManualClock
from libs.messages.audit import AuditList
from libs.secrets import KeyRing
from libs.storage.memory import MemoryStore
from libs.testing.buses import Net
from services.registry.audit import Audit
from services.registry.functions.store import Functions
from services.registry.rotation import Rotation
from services.registry.secrets.vault import SECRETS, Vault

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


class Registry:
    """A vault that answers on the bus."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        clock = ManualClock(MOMENT)
        self.audit = Audit(store=self.store, clock=clock)
        ring = KeyRing.parse(KeyRing.generate())
        self.vault = Vault(store=self.store, sealer=ring, clock=clock, audit=self.audit)
        self.rotation = Rotation(
            store=self.store,
            functions=Functions(store=self.store, clock=clock),
            vault=self.vault,
            sealer=ring,
            audit=self.audit,
            on_written=lambda _entry, _actor: None,
        )


@pytest.fixture
async def registry(net: Net) -> AsyncIterator[Registry]:
    async with asyncio.TaskGroup() as tasks:
        made = Registry()
        server = rpc.Server(await net.connect("registry"), "registry", tasks)
        await made.vault.serve(server)
        await made.rotation.serve(server)
        yield made
        await server.stop()


async def test_secret_is_created_listed_without_value_and_deleted(client: httpx.AsyncClient, registry: Registry) -> None:
    assert (await client.get("/_fn/secrets")).json() == []
    made = await client.post("/_fn/secrets", json={"key": "API_KEY", "value": "s3cret"})
    assert (made.status_code, made.json()) == (201, {"status": "created", "key": "API_KEY"})
    listed = await client.get("/_fn/secrets")
    created = int(MOMENT.timestamp())
    assert (listed.status_code, listed.json()) == (200, [{"key": "API_KEY", "created": created}])
    await client.post("/_fn/secrets", json={"key": "API_KEY", "value": "n3w"})
    assert (await client.get("/_fn/secrets")).json() == [{"key": "API_KEY", "created": created, "updated": created}]
    assert (await client.get("/_fn/secrets?namespace=other")).json() == []
    for _ in range(2):
        gone = await client.delete("/_fn/secrets", params={"key": "API_KEY"})
        assert (gone.status_code, gone.json()) == (200, {"status": "deleted", "key": "API_KEY"})
    assert await registry.store.find(SECRETS) == []
    last, *_ = (await registry.audit.page(AuditList(), max_bytes=100_000)).records
    assert (last.action, last.actor.principal, last.actor.ip) == ("secret.removed", "local", "127.0.0.1")


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("POST", "/_fn/secrets", b"{", 400, "invalid json body: require key/value"),
        ("POST", "/_fn/secrets", b"[]", 400, "invalid json body: require key/value"),
        ("POST", "/_fn/secrets", b'{"key": "A"}', 400, "invalid json body: require key/value"),
        ("POST", "/_fn/secrets", b'{"key": "", "value": "x"}', 400, "invalid json body: require key/value"),
        ("POST", "/_fn/secrets", b'{"key": "A", "value": 1}', 400, "invalid json body: require key/value"),
        ("POST", "/_fn/secrets", b" " * (128 * 1024 + 1), 413, "payload too large"),
        ("POST", "/_fn/secrets", b'{"key": "a/b", "value": "x"}', 400, "a secret's key must match"),
        ("DELETE", "/_fn/secrets", b"", 400, "missing key parameter"),
        ("GET", "/_fn/secrets?namespace=a/b", b"", 400, "invalid namespace"),
        ("GET", "/_fn/secrets?namespace=..", b"", 400, "invalid namespace"),
        ("POST", "/_fn/secrets?namespace=%00", b'{"key": "A", "value": "x"}', 400, "invalid namespace"),
        ("DELETE", "/_fn/secrets?key=A&namespace=" + "n" * 101, b"", 400, "invalid namespace"),
        ("PUT", "/_fn/secrets", b"", 405, "method not allowed"),
    ],
)
async def test_bad_request_is_refused(
    client: httpx.AsyncClient, method: str, path: str, body: bytes, status: int, text: str
) -> None:
    answer = await client.request(method, path, content=body)
    assert answer.status_code == status
    assert answer.json()["error"].startswith(text)


async def test_secrets_without_a_registry_are_unavailable(client: httpx.AsyncClient) -> None:
    assert (await client.get("/_fn/secrets")).status_code == 503


@pytest.mark.usefixtures("registry")
async def test_secret_from_another_site_or_from_afar_is_refused(client: httpx.AsyncClient) -> None:
    given = {"key": "A", "value": "x"}
    for headers, text in (
        ({"origin": "https://evil.test"}, "missing CSRF header"),
        ({"sec-fetch-site": "cross-site"}, "missing CSRF header"),
        ({"x-forwarded-for": "127.0.0.1"}, "console api local-only"),
        ({"host": "rebound.evil.test"}, "console api local-only"),
    ):
        answer = await client.post("/_fn/secrets", json=given, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (403, text)
    assert (await client.get("/_fn/secrets")).json() == []


@pytest.mark.usefixtures("registry")
async def test_keys_are_rotated_step_by_step(client: httpx.AsyncClient) -> None:
    await client.post("/_fn/secrets", json={"key": "A", "value": "s3cret"})
    step = (await client.post("/_fn/secrets/rotate")).json()
    assert (step["key"], step["total"], step["looked"], step["resealed"], step["failed"]) == ("k1", 1, 1, 0, [])
    while step["after"] is not None:
        step = (await client.post("/_fn/secrets/rotate", params={"after": step["after"]})).json()
    nowhere = await client.post("/_fn/secrets/rotate", params={"after": "nowhere"})
    assert (nowhere.status_code, nowhere.json()["error"]) == (400, "'nowhere' is no place to go on from")

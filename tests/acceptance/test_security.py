"""Who gets in, and what becomes of secrets, on a platform of processes: two gateways, a registry, an executor."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from libs import passwords
from libs.bus.jetstream import connect
from libs.messages import subjects
from libs.secrets import KeyRing
from libs.testing.cluster import Cluster, running_cluster
from libs.testing.wait import eventually

OLD, NEW = KeyRing.generate("old"), KeyRing.generate("new")
SECRET = "n0body-may-read-this"
ECHO = """
def handler(event):
    return {"secrets": event["secrets"], "env": event["env"], "user": event["context"].get("user"), "query": event["query"]}
"""
FILES = {
    "python/asking/handler.py": ECHO,
    "python/asking/fn.config.json": json.dumps({"secrets": ["API_KEY"]}),
    "python/asking/fn.env.json": json.dumps({"OWN_TOKEN": {"value": "own"}, "WORD": "w"}),
    "python/silent/handler.py": ECHO,
    "python/closed/handler.py": ECHO,
    "python/closed/fn.config.json": json.dumps({"secrets": ["API_KEY"], "permissions": {"env": False}}),
    "python/closed/fn.env.json": json.dumps({"OWN_TOKEN": "own"}),
    "python/marked/handler.py": ECHO,
    "python/marked/fn.env.json": json.dumps({"API_KEY": {"value": "placeholder", "is_secret": True}}),
}
SETTINGS = {
    "FNBUS_SECRET_KEYS": OLD,
    "FN_ADMIN_TOKEN": "admin",
    "FN_CONSOLE_LOGIN_ENABLED": "1",
    "FN_CONSOLE_LOGIN_USERNAME": "ada",
    "FN_CONSOLE_LOGIN_PASSWORD_HASH": passwords.hashed("right"),
    "FN_TRUSTED_PROXY_CIDRS": "127.0.0.2/32",
}


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    functions = tmp_path / "functions"
    for name, text in FILES.items():
        (functions / name).parent.mkdir(parents=True, exist_ok=True)
        (functions / name).write_text(text)
    counts = {"gateway": 2, "scheduler": 0}
    async with running_cluster(tmp_path / "cluster", functions, counts=counts, settings=SETTINGS) as made:
        yield made


def answers(client: httpx.AsyncClient, name: str, expected: Any) -> Callable[[], Awaitable[bool]]:
    """Return a check of the secrets that a function sees."""

    async def check() -> bool:
        answer = await client.get(f"/{name}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["secrets"] == expected
        return True

    return check


async def test_secret_goes_sealed_to_who_asks_for_it_and_outlives_a_rotation_of_keys(cluster: Cluster) -> None:
    async with httpx.AsyncClient(base_url=cluster.url, timeout=30) as client:
        await eventually(answers(client, "asking", {"OWN_TOKEN": "own"}), within=60)
        await eventually(answers(client, "marked", {"API_KEY": "placeholder"}), within=60)
        assert (await client.post("/_fn/secrets", json={"key": "API_KEY", "value": SECRET})).status_code == 201
        await eventually(answers(client, "asking", {"OWN_TOKEN": "own", "API_KEY": SECRET}), within=60)
        await eventually(answers(client, "marked", {"API_KEY": SECRET}), within=60)
        await answers(client, "silent", {})()
        await answers(client, "closed", {})()
        # Rotated: the executors know the new key before anything is sealed with it.
        for service, keys in (("executor", f"{OLD},{NEW}"), ("registry", f"{NEW},{OLD}"), ("executor", NEW)):
            await restart(cluster, service, FNBUS_SECRET_KEYS=keys)
        await eventually(answers(client, "asking", {"OWN_TOKEN": "own", "API_KEY": SECRET}), within=60)
        await restart(cluster, "registry", FNBUS_SECRET_KEYS=NEW)
        listed = await client.get("/_fn/secrets")
        assert [each["key"] for each in listed.json()] == ["API_KEY"]
        told = [await client.get(path) for path in ("/_fn/catalog", "/_fn/health", "/metrics", "/_fn/secrets", "/_fn/audit")]
        assert not [answer.url for answer in told if SECRET in answer.text]
        bus = await connect(url=cluster.nats.url, user="", password="", name="test")
        try:
            bucket = await bus.bucket(subjects.CATALOG_BUCKET)
            entries = [await bucket.get(key) for key in await bucket.keys()]
        finally:
            await bus.close()
        assert not [entry for entry in entries if entry is not None and SECRET.encode() in (entry.value or b"")]
        assert not [replica.name for replica in cluster.replicas if SECRET in replica.log.read_text(errors="replace")]
        await client.delete("/_fn/secrets", params={"key": "API_KEY"})
        await eventually(answers(client, "asking", {"OWN_TOKEN": "own"}), within=60)
        await eventually(answers(client, "marked", {"API_KEY": "placeholder"}), within=60)


async def restart(cluster: Cluster, service: str, **settings: str) -> None:
    """Start the replicas of a service anew, told something else."""
    for replica in cluster.of(service):
        await replica.stop()
        replica.env = {**replica.env, **settings}
        await replica.start()
        await replica.ready()


async def test_login_at_one_gateway_is_good_at_the_other_and_ends_at_both(cluster: Cluster) -> None:
    urls = [replica.ops_url for replica in cluster.of("gateway")]
    async with httpx.AsyncClient(base_url=urls[0], timeout=30) as one, httpx.AsyncClient(base_url=urls[1], timeout=30) as other:
        await one.put("/_fn/ui-state", json={"login_api_enabled": True})
        await eventually(refused(other), within=30)
        assert (await one.post("/_fn/login", json={"username": "ada", "password": "wrong"})).status_code == 401
        assert (await one.post("/_fn/login", json={"username": "ada", "password": "right"})).status_code == 200
        other.cookies.set("fastfn_session", one.cookies["fastfn_session"])
        assert (await other.get("/_fn/catalog")).status_code == 200
        assert (await other.get("/_fn/catalog", headers={"x-fn-admin-token": "admin"})).status_code == 200
        await one.post("/_fn/logout")
        await eventually(refused(other), within=30)
        await other.delete("/_fn/ui-state")
        assert (await other.get("/_fn/catalog")).status_code == 200


def refused(client: httpx.AsyncClient) -> Callable[[], Awaitable[bool]]:
    """Return a check that a login is asked for."""

    async def check() -> bool:
        return (await client.get("/_fn/catalog")).json().get("error") == "login required"

    return check


async def test_public_caller_is_never_taken_for_somebody(cluster: Cluster) -> None:
    forged = {"x-fn-user": "root", "x-fn-request": "1", "x-forwarded-for": "127.0.0.1", "x-forwarded-host": "localhost"}
    async with httpx.AsyncClient(base_url=cluster.url, timeout=30) as client:
        await eventually(answers(client, "silent", {}), within=60)
        answer = await client.get("/silent", params={"__fnctx": "eyJ1c2VyIjp7ImlkIjoicm9vdCJ9fQ=="}, headers=forged)
        assert answer.json()["user"] is None
        meant = await client.post("/_fn/invoke", json={"name": "silent", "context": {"id": 7}})
        told = json.loads(meant.json()["body"])
        assert (told["user"], told["query"]) == ({"id": 7}, {})
        assert (await client.post("/_fn/invoke", json={"name": "silent"}, headers=forged)).status_code == 403

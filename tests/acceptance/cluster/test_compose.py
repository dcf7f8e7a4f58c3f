"""`compose.yaml` cannot rot: every service of ours is started with exactly its command and environment."""

import asyncio
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import httpx
import yaml

from libs.bus.server import NATS_CONFIG
from libs.ports import unused_port
from libs.testing.cluster import Replica
from libs.testing.jaeger import running_jaeger
from libs.testing.mongo import running_mongo
from libs.testing.nats import running_nats
from libs.testing.wait import eventually

ROOT = Path(__file__).parents[3]
OURS = ("registry", "scheduler", "executor", "gateway")


def read_env(path: Path) -> dict[str, str]:
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def interpolate(text: str, values: dict[str, str]) -> str:
    """Replace `${NAME}`, `${NAME:-default}`, `${NAME:+value}` and `${NAME:?message}` as Compose does."""

    def value(found: re.Match[str]) -> str:
        name, rule, rest = found[1], found[2], found[3]
        if rule == ":+":
            return str(rest) if values.get(name) else ""
        if name in values:
            return values[name]
        assert rule == ":-", f"{name}: {rest}"
        return str(rest)

    return re.sub(r"\$\{(\w+)(?:(:-|:\?|:\+)([^}]*))?\}", value, text)


def compose(**more: str) -> dict[str, Any]:
    """Return what Compose makes of `compose.yaml` with the example's `.env` and more lines in it."""
    text = interpolate((ROOT / "compose.yaml").read_text(), read_env(ROOT / "deploy" / "example.env") | more)
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def test_compose_says_which_server_config_image_and_functions_exist() -> None:
    services = compose()["services"]
    for service in services.values():
        for volume in service.get("volumes", []):
            source = str(volume).split(":", 1)[0]
            assert not source.startswith(".") or (ROOT / source).exists(), source
    assert (ROOT / "Dockerfile").exists()
    assert set(OURS) < set(services)


def test_compose_keeps_executors_and_gateways_away_from_the_database() -> None:
    networks = {name: set(service["networks"]) for name, service in compose()["services"].items()}
    for name in ("executor", "gateway"):
        assert not networks[name] & networks["mongo"]
        assert networks[name] & networks["nats"]
    for name in ("registry", "scheduler"):
        assert networks[name] & networks["mongo"]


def test_compose_follows_a_folder_only_when_one_is_named() -> None:
    assert not compose()["services"]["registry"]["environment"]["FNBUS_FUNCTIONS_ROOT"]
    registry = compose(FUNCTIONS="./examples/functions")["services"]["registry"]
    assert registry["environment"]["FNBUS_FUNCTIONS_ROOT"] == "/functions"
    assert registry["volumes"] == ["./examples/functions:/functions:ro"]


def test_compose_hands_settings_of_the_console_to_gateways() -> None:
    chosen = {"FNBUS_CONSOLE_LOGIN_API": "true", "FNBUS_CONSOLE_LOGIN_USERNAME": "ada", "FNBUS_CONSOLE_WRITE_ENABLED": "true"}
    said = compose(**chosen)["services"]["gateway"]["environment"]
    assert {name: said[name] for name in chosen} == chosen
    assert compose()["services"]["gateway"]["environment"]["FNBUS_CONSOLE_WRITE_ENABLED"] == "false"


async def test_every_service_starts_with_the_command_and_environment_of_compose(tmp_path: Path) -> None:
    services = compose()["services"]
    # The server parses its variables, so compose.yaml has quotes in them; `running_nats` adds its own.
    passwords: dict[str, str] = {name: json.loads(value) for name, value in services["nats"]["environment"].items()}
    async with (
        running_nats(tmp_path / "nats", config=NATS_CONFIG, env=passwords) as nats,
        running_mongo(tmp_path / "mongo") as mongo,
        running_jaeger() as jaeger,
    ):
        addresses = {
            "nats://nats:4222": nats.url,
            "mongodb://mongo:27017": mongo.url,
            "http://jaeger:4318": jaeger.otlp_endpoint,
            "0.0.0.0": "127.0.0.1",
        }
        replicas: list[Replica] = []
        try:
            replicas.extend([await start(services[name], name, addresses, tmp_path) for name in OURS])
            await asyncio.gather(*(replica.ready() for replica in replicas))
            await deploy(ROOT / "examples" / "functions" / "get.hello.py", replicas[-1])
            async with httpx.AsyncClient(base_url=replicas[-1].ops_url, timeout=10) as client:

                async def answers() -> bool:
                    return (await client.get("/hello", params={"name": "compose"})).is_success

                await eventually(answers)
        finally:
            codes = [await replica.stop() for replica in reversed(replicas)]
    assert codes == [0, 0, 0, 0]


async def deploy(what: Path, gateway: Replica) -> None:
    """Bring functions there as the documentation says."""
    told = ("--url", gateway.ops_url, "--token", gateway.env["FNBUS_ADMIN_TOKEN"])
    process = await asyncio.create_subprocess_exec("fnbus", "deploy", str(what), *told, env=dict(gateway.env))
    assert await process.wait() == 0


async def start(service: dict[str, Any], name: str, addresses: dict[str, str], folder: Path) -> Replica:
    command: list[str] = service["command"]
    assert command == ["fnbus", name]
    assert shutil.which("fnbus", path=str(Path(sys.executable).parent))
    port = str(unused_port())
    own = {"FNBUS_DATA_DIR": str(folder / name), "FNBUS_OPS_PORT": port, "FNBUS_HTTP_PORT": port, "FNBUS_ISOLATION": "auto"}
    values = {key: "" if value is None else str(value) for key, value in service["environment"].items()}
    env = {key: addresses.get(value, value) for key, value in values.items()}
    env |= {key: value for key, value in own.items() if key in env}
    if name == "gateway":
        env["FNBUS_HTTP_PORT"] = port
        env.pop("FNBUS_OPS_PORT", None)
    env["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    log, url = folder / f"{name}.log", f"http://127.0.0.1:{port}"
    replica = Replica(service=name, name=name, env=env, log=log, ops_url=url, command=tuple(command))
    await replica.start()
    return replica

"""What each process of a local platform is told, and what it is not."""

from dataclasses import replace
from pathlib import Path

import pytest

from cli import environment
from cli.environment import Platform


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(
        functions=tmp_path / "functions",
        data=tmp_path / "state",
        host="127.0.0.1",
        port=8080,
        ops_ports={"registry": 8081, "scheduler": 8082, "executor": 8083},
        secret_keys="k1:secret",
        passwords=environment.passwords(),
    )


def test_every_service_has_a_password_of_its_own(platform: Platform) -> None:
    told = {
        name: environment.variables(name, platform, nats_url="nats://127.0.0.1:1", inherited={})
        for name in environment.SERVICES
    }
    assert {each["FNBUS_NATS_USER"] for each in told.values()} == set(environment.SERVICES)
    assert len({each["FNBUS_NATS_PASSWORD"] for each in told.values()}) == len(environment.SERVICES)
    assert environment.passwords() != platform.passwords


def test_key_ring_is_told_to_nobody_who_does_not_need_it(platform: Platform) -> None:
    holders = {
        name
        for name in environment.SERVICES
        if "FNBUS_SECRET_KEYS" in environment.variables(name, platform, nats_url="nats://127.0.0.1:1", inherited={})
    }
    assert holders == {"registry", "executor"}


def test_functions_are_kept_from_the_platforms_ports_and_from_no_others(platform: Platform) -> None:
    inherited = {"FNBUS_MONGO_URL": "mongodb://localhost/fnbus"}
    told = environment.variables("executor", platform, nats_url="nats://127.0.0.1:4999", inherited=inherited)
    assert told["FNBUS_FENCED_PORTS"] == "4999,8080,8081,8082,8083,27017"


def test_services_answer_operators_on_the_ports_that_functions_are_kept_from(platform: Platform) -> None:
    ports = [
        environment.variables(service, platform, nats_url="nats://127.0.0.1:1", inherited={})["FNBUS_OPS_PORT"]
        for service in environment.SERVICES
    ]
    assert ports == ["8081", "8082", "8083", "0"]


def test_own_environment_is_handed_on_below_what_is_told(platform: Platform) -> None:
    inherited = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "FNBUS_LOG_FORMAT": "text", "FNBUS_LOG_LEVEL": "DEBUG"}
    told = environment.variables("gateway", platform, nats_url="nats://127.0.0.1:1", inherited=inherited)
    assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:4318"
    assert told["FNBUS_LOG_LEVEL"] == "DEBUG"
    assert told["FNBUS_LOG_FORMAT"] == "json"
    assert (told["FNBUS_HTTP_HOST"], told["FNBUS_HTTP_PORT"]) == ("127.0.0.1", "8080")


def test_bus_of_somebody_else_keeps_its_address_and_credentials(tmp_path: Path) -> None:
    platform = Platform(
        functions=tmp_path, data=tmp_path, host="127.0.0.1", port=1, ops_ports={"registry": 2}, secret_keys="", passwords={}
    )
    told = environment.variables("gateway", platform, nats_url="", inherited={"FNBUS_NATS_URL": "nats://far:4222"})
    assert told["FNBUS_NATS_URL"] == "nats://far:4222"
    assert "FNBUS_NATS_PASSWORD" not in told


def test_key_ring_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    made = environment.secret_keys(tmp_path)
    assert environment.secret_keys(tmp_path) == made
    assert (tmp_path / "secret-keys").stat().st_mode & 0o777 == 0o600


def test_platform_shows_no_secret_in_its_text(platform: Platform) -> None:
    assert "k1:secret" not in repr(platform)
    assert not any(password in repr(platform) for password in platform.passwords.values())


@pytest.mark.parametrize(
    ("host", "inherited", "expected"),
    [
        ("127.0.0.1", {}, "1"),
        ("localhost", {}, "1"),
        ("::1", {}, "1"),
        ("0.0.0.0", {}, None),
        ("127.0.0.1", {"FN_CONSOLE_WRITE_ENABLED": "0"}, None),
        ("127.0.0.1", {"FNBUS_CONSOLE_WRITE_ENABLED": "0"}, "0"),
    ],
)
def test_console_is_open_to_writing_on_loopback_unless_told_otherwise(
    platform: Platform, host: str, inherited: dict[str, str], expected: str | None
) -> None:
    told = environment.variables("gateway", replace(platform, host=host), nats_url="nats://127.0.0.1:1", inherited=inherited)
    assert told.get("FNBUS_CONSOLE_WRITE_ENABLED") == expected

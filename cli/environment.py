"""What each process of `fnbus dev` is told: its `FNBUS_*` variables, random credentials, the key ring of the state folder."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from cli.errors import CommandError
from libs.ports import named_ports

SERVICES = ("registry", "scheduler", "executor", "gateway")
"""In the order in which they start; the bus comes before them."""
STOP_ORDER = ("gateway", "scheduler", "executor", "registry", "nats-server")
"""No new calls first, the bus last."""
ANSWER_OPERATORS = ("registry", "scheduler", "executor")
"""Those with a port of their own for that; the gateway does it on the one that it serves on."""

_KEEPS_SECRETS = frozenset({"registry", "executor"})
_SERVERS = {"FNBUS_NATS_URL": 4222, "FNBUS_MONGO_URL": 27017}
"""Variables that name the platform's servers, and the ports that these have when nothing else is said."""
_KEY_FILE = "secret-keys"
_DRAIN_SECONDS = 1.0
_DEVELOPING = {
    "CONSOLE_WRITE_ENABLED": "1",
    # Who deploys a folder of functions, or tries the API out, is one client.
    "CONSOLE_RATE_LIMIT_MAX": "0",
    "CONSOLE_WRITE_RATE_LIMIT_MAX": "0",
}
"""What the gateway of a developer's machine lets be done."""


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What all processes of one run have in common."""

    functions: Path
    """The functions folder."""
    data: Path
    """The state folder."""
    host: str
    port: int
    """Where the gateway serves."""
    ops_ports: Mapping[str, int]
    """Where services besides the gateway tell on loopback how they are: chosen here, so that functions are kept from them."""
    secret_keys: str = field(repr=False)
    passwords: Mapping[str, str] = field(repr=False)
    """Of each service, for the bus; empty when the bus is not ours."""
    developing: bool = True
    """Whether this is a developer's machine, where the console is open and nobody waits for what ends."""
    more: Mapping[str, str] = field(default_factory=dict[str, str])
    """Settings of the project and of the command line, for all services."""


def passwords() -> dict[str, str]:
    """Return a random password for each service, good for one run."""
    # It begins with a letter: the server's configuration would take some other texts for numbers.
    return {name: f"p{secrets.token_hex(24)}" for name in SERVICES}


def nats_variables(chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that `libs/bus/nats.conf` reads its passwords from."""
    return {f"FNBUS_NATS_{name.upper()}_PASSWORD": password for name, password in chosen.items()}


def variables(service: str, platform: Platform, *, nats_url: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service's process.

    Args:
        service: which one.
        platform: what all have in common.
        nats_url: where the bus is.
        inherited: the command's own environment, which they all get below that.
    """
    told = {
        "FNBUS_DATA_DIR": str(platform.data),
        "FNBUS_OPS_PORT": str(platform.ops_ports.get(service, 0)),
        "FNBUS_EXIT_WITH_PARENT": "1",
        "FNBUS_LOG_FORMAT": "json",
        **platform.more,
    }
    if platform.developing:
        told["FNBUS_DRAIN_SECONDS"] = str(_DRAIN_SECONDS)
    if platform.passwords:
        told |= {"FNBUS_NATS_URL": nats_url, "FNBUS_NATS_USER": service, "FNBUS_NATS_PASSWORD": platform.passwords[service]}
    if service in _KEEPS_SECRETS:
        told["FNBUS_SECRET_KEYS"] = platform.secret_keys
    if service == "registry":
        told["FNBUS_FUNCTIONS_ROOT"] = str(platform.functions)
    if service == "executor":
        # What else listens on a developer's machine, such as a database, is for functions to use.
        told["FNBUS_FENCED_PORTS"] = ",".join(map(str, _own_ports(platform, nats_url, inherited)))
    if service == "gateway":
        told |= {"FNBUS_HTTP_HOST": platform.host, "FNBUS_HTTP_PORT": str(platform.port)}
        told |= _open_console(platform.host, inherited) if platform.developing else {}
    return {**inherited, **told}


def _open_console(host: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return what opens the console on a developer's machine, as far as the person has said nothing else."""
    if not _is_loopback(host):
        return {}
    return {
        f"FNBUS_{name}": value for name, value in _DEVELOPING.items() if not {f"FNBUS_{name}", f"FN_{name}"} & inherited.keys()
    }


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _own_ports(platform: Platform, nats_url: str, inherited: Mapping[str, str]) -> list[int]:
    """Return the ports on which the platform itself listens, wherever that is."""
    named = [named_ports(inherited.get(name, ""), usual=usual) for name, usual in _SERVERS.items()]
    own = named_ports(nats_url, usual=_SERVERS["FNBUS_NATS_URL"])
    return sorted({platform.port, *platform.ops_ports.values(), *own.union(*named)} - {0})


def secret_keys(data: Path) -> str:
    """Return the key ring of the state folder, made at its first run: what was sealed must open at the next one.

    Raises:
        CommandError: its file cannot be read or written.
    """
    path = data / _KEY_FILE
    try:
        if path.exists():
            return path.read_text().strip()
        from libs.secrets import KeyRing  # only a first run needs to make keys

        text = KeyRing.generate()
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{text}\n")
    except OSError as error:
        raise CommandError(f"cannot use {path}: {error.strerror}") from None
    return text


def own() -> dict[str, str]:
    """Return the environment of this process, to be handed on."""
    return dict(os.environ)

"""Settings that every service has, and the one way to read them.

Settings come from the environment (`FNBUS_*`, and the standard `OTEL_EXPORTER_OTLP_ENDPOINT`), once, in a service's
`main.py`. Nothing else reads the environment.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

Port = Annotated[int, Field(ge=0, le=65535)]
"""0: any free port."""


def fastfn(name: str) -> AliasChoices:
    """Return the names of a setting that FastFN has too: ours first."""
    return AliasChoices(f"FNBUS_{name.upper()}", f"FN_{name.upper()}", name)


def split_at_commas(value: object) -> object:
    """Return the parts of a list as it is written in a variable; what is no text is left as it is."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class ServiceSettings(BaseSettings):
    """What every service can be told."""

    model_config = SettingsConfigDict(env_prefix="FNBUS_", frozen=True, extra="ignore", populate_by_name=True)

    nats_url: str = "nats://127.0.0.1:4222"
    """Server, or several with commas between them."""
    nats_user: str = ""
    """Who this service is to the bus; empty: a bus without users."""
    nats_password: SecretStr = SecretStr("")
    """Password of that user."""
    mongo_url: SecretStr = SecretStr("")
    """MongoDB of the registry and the scheduler; empty: SQLite files in the data folder, for one replica of each."""
    data_dir: Path = Path(".fnbus")
    """Folder for what this service keeps on disk: SQLite files, the executor's cache of code."""
    secret_keys: SecretStr = SecretStr("")
    """Key ring for sealed values: `id:base64` of 32 bytes each, commas between them; the first one seals."""
    ops_host: str = "127.0.0.1"
    """Where `/healthz`, `/readyz` and `/metrics` are served; the gateway serves them with everything else."""
    ops_port: Port = 0
    """Port for that; 0: any free one."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """`json`, `text`, or `auto`: text on a terminal, JSON lines elsewhere."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least that is logged: `DEBUG`, `INFO`, `WARNING` or `ERROR`."""
    drain_seconds: Annotated[float, Field(ge=0)] = 10.0
    """How long work under way may take to finish after SIGTERM, in seconds."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 6 * 1024 * 1024
    """The platform's cap on request and answer bodies, in bytes; a function's own `max_body_bytes` can only be lower."""
    runtimes: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(split_at_commas), Field(validation_alias=fastfn("runtimes"))
    ] = ()
    """Languages that are served, commas between them, in the order in which a bare name finds them; empty: all there are."""
    otlp_endpoint: Annotated[str, Field(validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT", "otlp_endpoint"))] = ""
    """Base URL of an OTLP/HTTP collector; empty: no tracing."""
    exit_with_parent: bool = False
    """Stop when the process that started this one has gone (set by `fnbus dev`)."""

    @field_validator("secret_keys")
    @classmethod
    def _is_a_key_ring(cls, given: SecretStr) -> SecretStr:
        if given.get_secret_value():
            from libs.secrets import KeyRing  # most services have no keys, and need no cryptography

            KeyRing.parse(given.get_secret_value())
        return given


def environment() -> Mapping[str, str]:
    """Return the whole environment, for programs that are handed a part of it: whoever starts them says which by name."""
    return dict(os.environ)


def load[S: ServiceSettings](kind: type[S]) -> S:
    """Read the settings of a service; on a wrong value say which one and why on stderr, and exit with 2."""
    try:
        return kind()
    except ValidationError as error:
        for fault in error.errors():
            sys.stderr.write(f"fnbus: setting {_told(kind, fault)}\n")
    except SettingsError as error:  # a list or map that is not JSON; its text names the field
        sys.stderr.write(f"fnbus: setting {error}\n")
    raise SystemExit(2)


def _told(kind: type[BaseSettings], fault: ErrorDetails) -> str:
    """Return a fault as `NAME: what is wrong (got 'value')`; a secret's value is left out."""
    by_variable = {_variable(kind, name).lower(): name for name in kind.model_fields}
    said = str(fault["loc"][0]) if fault["loc"] else ""
    name = said if said in kind.model_fields else by_variable.get(said.lower(), said)
    field = kind.model_fields.get(name)
    variable = _variable(kind, name) if field else said
    secret = field is None or field.annotation is SecretStr
    given = "" if secret else f" (got {fault.get('input')!r})"
    return f"{variable}: {fault['msg'].removeprefix('Value error, ')}{given}"


def _variable(kind: type[BaseSettings], name: str) -> str:
    """Return the environment variable that sets a field."""
    alias = kind.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return alias if isinstance(alias, str) else f"{kind.model_config.get('env_prefix', '')}{name}".upper()

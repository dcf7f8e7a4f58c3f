"""What the gateway can be told, besides what every service can."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from libs.settings import Port, ServiceSettings
from services.gateway.guard.flags import Flags
from services.gateway.requests import Network


def _fastfn(name: str) -> AliasChoices:
    """Return the names of a setting that FastFN has too: ours first."""
    return AliasChoices(f"FNBUS_{name.upper()}", f"FN_{name.upper()}", name)


class GatewaySettings(ServiceSettings):
    """Settings of the gateway."""

    http_host: str = "127.0.0.1"
    """Where calls and the control plane are served."""
    http_port: Annotated[Port, Field(validation_alias=AliasChoices("FNBUS_HTTP_PORT", "FN_HOST_PORT", "http_port"))] = 8080
    """Port for that; 0: any free one."""
    trusted_proxies: Annotated[
        tuple[Network, ...],
        NoDecode,
        Field(validation_alias=AliasChoices("FNBUS_TRUSTED_PROXIES", "FN_TRUSTED_PROXY_CIDRS", "trusted_proxies")),
    ] = ()
    """Networks (CIDR, commas between them) whose `X-Forwarded-For` and `X-Forwarded-Host` are believed."""
    admin_token: Annotated[SecretStr, Field(validation_alias=_fastfn("admin_token"))] = SecretStr("")
    """Opens all of the control plane to whoever sends it as header `x-fn-admin-token`; empty: it opens nothing."""
    console_api_enabled: Annotated[bool, Field(validation_alias=_fastfn("console_api_enabled"))] = True
    """False: the control plane (`/_fn/*`) answers 404, but for what everybody may see."""
    admin_api_enabled: Annotated[bool, Field(validation_alias=_fastfn("admin_api_enabled"))] = True
    """As above; answers 404 `admin api disabled`."""
    console_local_only: Annotated[bool, Field(validation_alias=_fastfn("console_local_only"))] = True
    """Only clients on loopback, and those with the admin token, use the control plane. Private networks are not local."""
    console_write_enabled: Annotated[bool, Field(validation_alias=_fastfn("console_write_enabled"))] = False
    """Functions and secrets are changed without the admin token, too. `fnbus dev` on loopback sets it."""
    ui_enabled: Annotated[bool, Field(validation_alias=_fastfn("ui_enabled"))] = False
    """The console's pages are served."""
    public_explore: Annotated[bool, Field(validation_alias=_fastfn("public_explore"))] = False
    """The list of routes (`/_fn/catalog`) is there without a login, where one is asked for."""
    console_rate_limit_max: Annotated[int, Field(ge=0, validation_alias=_fastfn("console_rate_limit_max"))] = 120
    """Console requests of one client in a window of time; 0: any number. The admin token, calls and jobs are not counted."""
    console_rate_limit_window_s: Annotated[float, Field(gt=0, validation_alias=_fastfn("console_rate_limit_window_s"))] = 60.0
    """Length of that window, in seconds."""
    console_write_rate_limit_max: Annotated[int, Field(ge=0, validation_alias=_fastfn("console_write_rate_limit_max"))] = 30
    """Changes by one client in the same window; 0: any number."""
    console_login_enabled: Annotated[bool, Field(validation_alias=_fastfn("console_login_enabled"))] = False
    """There is a login: `POST /_fn/login`."""
    console_login_api: Annotated[bool, Field(validation_alias=_fastfn("console_login_api"))] = False
    """The control plane asks for a login, or for the admin token."""
    console_login_username: Annotated[str, Field(validation_alias=_fastfn("console_login_username"))] = ""
    """Who logs in."""
    console_login_password: Annotated[SecretStr, Field(validation_alias=_fastfn("console_login_password"))] = SecretStr("")
    """The password itself; a hash is better."""
    console_login_password_file: Annotated[Path | None, Field(validation_alias=_fastfn("console_login_password_file"))] = None
    """File that holds it."""
    console_login_password_hash: Annotated[SecretStr, Field(validation_alias=_fastfn("console_login_password_hash"))] = (
        SecretStr("")
    )
    """What `fnbus hash-password` printed, or a hash of FastFN's (`pbkdf2-sha256:…`, `sha256:…`); it wins over a password."""
    console_login_password_hash_file: Annotated[
        Path | None, Field(validation_alias=_fastfn("console_login_password_hash_file"))
    ] = None
    """File that holds it."""
    console_login_rate_limit_max: Annotated[int, Field(ge=0, validation_alias=_fastfn("console_login_rate_limit_max"))] = 5
    """Failed logins of one client in a window of time; 0: any number."""
    console_login_rate_limit_window_s: Annotated[
        float, Field(gt=0, validation_alias=_fastfn("console_login_rate_limit_window_s"))
    ] = 300.0
    """Length of that window, in seconds."""
    console_session_secret: Annotated[SecretStr, Field(validation_alias=_fastfn("console_session_secret"))] = SecretStr("")
    """Mixed into what is kept of sessions, so that a new secret ends them all; the same for all gateways. None is needed."""
    console_session_secret_file: Annotated[Path | None, Field(validation_alias=_fastfn("console_session_secret_file"))] = None
    """File that holds it."""
    console_session_ttl_s: Annotated[int, Field(gt=0, validation_alias=_fastfn("console_session_ttl_s"))] = 43_200
    """How long a login lasts, in seconds."""
    max_in_flight: Annotated[int, Field(ge=1)] = 4096
    """Calls under way in this gateway; more are turned away."""
    home_function: Annotated[str, Field(validation_alias=_fastfn("home_function"))] = ""
    """Function or route that answers at `/`."""
    home_redirect: Annotated[str, Field(validation_alias=_fastfn("home_redirect"))] = ""
    """Where `/` leads instead (302)."""
    landing_page: bool = True
    """A page at `/` lists the routes when nothing else is there."""
    max_asset_bytes: Annotated[int, Field(ge=1, validation_alias=_fastfn("max_asset_bytes"))] = 32 * 1024 * 1024
    """Largest static file that is served; larger ones answer 413."""
    asset_cache_bytes: Annotated[int, Field(ge=0)] = 64 * 1024 * 1024
    """Memory for static files."""
    http_verify_tls: Annotated[bool, Field(validation_alias=_fastfn("http_verify_tls"))] = True
    """False: what is fetched for functions (`edge`) may have any certificate."""
    jobs_enabled: Annotated[bool, Field(validation_alias=_fastfn("jobs_enabled"))] = True
    """False: the jobs API answers 404."""

    @property
    def flags(self) -> Flags:
        """What is open, as it is set."""
        return Flags(
            ui_enabled=self.ui_enabled,
            api_enabled=self.console_api_enabled,
            admin_api_enabled=self.admin_api_enabled,
            write_enabled=self.console_write_enabled,
            local_only=self.console_local_only,
            login_enabled=self.console_login_enabled,
            login_api_enabled=self.console_login_api,
            public_explore=self.public_explore,
        )

    @field_validator(
        "console_login_password_file", "console_login_password_hash_file", "console_session_secret_file", mode="before"
    )
    @classmethod
    def _no_file_when_empty(cls, value: object) -> object:
        return None if value == "" else value

    public_base_url: Annotated[
        str, Field(pattern=r"^(https?://[^\s/?#\"'<>;,]+(/[^\s?#\"'<>;,]*)?)?$", validation_alias=_fastfn("public_base_url"))
    ] = ""
    """Where clients reach the gateway, for documents that say so: `https://api.example.com`; empty: where they asked."""
    docs_enabled: Annotated[bool, Field(validation_alias=_fastfn("docs_enabled"))] = True
    """False: `/openapi.json` and `/docs` answer 404."""
    openapi_include_internal: Annotated[bool, Field(validation_alias=_fastfn("openapi_include_internal"))] = False
    """The OpenAPI document tells the platform's own endpoints as well."""

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(ip_network(part.strip(), strict=False) for part in value.split(",") if part.strip())
        return value

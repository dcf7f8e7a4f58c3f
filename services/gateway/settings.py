"""What the gateway can be told, besides what every service can."""

from ipaddress import ip_network
from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from libs.settings import Port, ServiceSettings
from services.gateway.requests import Network


class GatewaySettings(ServiceSettings):
    """Settings of the gateway."""

    http_host: str = "127.0.0.1"
    """Where calls and the control plane are served."""
    http_port: Annotated[Port, Field(validation_alias=AliasChoices("FNBUS_HTTP_PORT", "FN_HOST_PORT", "http_port"))] = 8080
    """Port for that; 0: any free one."""
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = ()
    """Networks (CIDR, commas between them) whose `X-Forwarded-For` and `X-Forwarded-Host` are believed."""
    admin_token: Annotated[
        SecretStr, Field(validation_alias=AliasChoices("FNBUS_ADMIN_TOKEN", "FN_ADMIN_TOKEN", "admin_token"))
    ] = SecretStr("")
    """Opens the control plane to clients that are not on loopback, as header `x-fn-admin-token`; empty: only loopback."""
    max_in_flight: Annotated[int, Field(ge=1)] = 4096
    """Calls under way in this gateway; more are turned away."""
    jobs_enabled: Annotated[
        bool, Field(validation_alias=AliasChoices("FNBUS_JOBS_ENABLED", "FN_JOBS_ENABLED", "jobs_enabled"))
    ] = True
    """False: the jobs API answers 404."""

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(ip_network(part.strip(), strict=False) for part in value.split(",") if part.strip())
        return value

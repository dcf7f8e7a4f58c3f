"""Which gateway a command talks to: what was typed, else the environment, else a profile, else what runs here.

A profile's credentials go to the profile's gateway only: with another URL they are not sent.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from cli.errors import CommandError

USUAL = "http://127.0.0.1:8080"
"""Where `fnbus dev` serves when nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a gateway is, and what opens its control plane."""

    url: str
    token: str = field(default="", repr=False)
    """Its admin token; empty: none is needed, as on the gateway's own machine."""
    session: str = field(default="", repr=False)
    """Cookie that a login gave."""
    profile: str = ""
    """The profile that this comes from; empty: from none."""


def choose(*, url: str = "", token: str = "", profile: str = "", environment: Mapping[str, str] | None = None) -> Address:
    """Return the gateway that is meant.

    Args:
        url: what was typed after `--url`.
        token: what was typed after `--token`.
        profile: what was typed after `--profile`.
        environment: other variables than this process's, for tests.

    Raises:
        CommandError: both a URL and a profile were typed, there is no such profile, or the profiles cannot be read.
    """
    told = os.environ if environment is None else environment
    if url and profile:
        raise CommandError("--url and --profile both name a gateway: leave one out")
    elsewhere = told.get("FNBUS_TOKEN") or told.get("FNBUS_ADMIN_TOKEN") or told.get("FN_ADMIN_TOKEN") or ""
    named = url or ("" if profile else told.get("FNBUS_URL", ""))
    if named:
        return Address(url=named, token=token or elsewhere)
    from cli import profiles

    book = profiles.load(profiles.path(told))
    name = profile or told.get("FNBUS_PROFILE") or book.current
    if not name:
        from cli import preflight

        nearby = preflight.running()
        return Address(url=nearby.address if nearby else USUAL, token=token or elsewhere)
    known = book.find(name)
    return Address(url=known.url, token=token or known.token or elsewhere, session=known.session, profile=name)

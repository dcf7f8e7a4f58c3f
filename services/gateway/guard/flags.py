"""The switches of the control plane, as they are set and as they are overridden at run time. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What is open and what is not; the names are those that `/_fn/ui-state` shows."""

    ui_enabled: bool = False
    """The console's pages are served."""
    api_enabled: bool = True
    admin_api_enabled: bool = True
    write_enabled: bool = False
    """The console API changes things; without, only for those who have the admin token."""
    local_only: bool = True
    """Only clients on loopback, and those who have the admin token."""
    login_enabled: bool = False
    """There is a login."""
    login_api_enabled: bool = False
    """The API asks for it."""
    public_explore: bool = False
    """The list of routes is there before the login."""

    def overridden(self, overrides: Mapping[str, bool]) -> "Flags":
        """Return the flags with some of them overridden; names that there are not (a newer gateway's) are left out."""
        known = {name: overrides[name] for name in NAMES if name in overrides}
        return replace(self, **known) if known else self

    def shown(self) -> dict[str, bool]:
        """Return all of them by name, in their order."""
        return {name: getattr(self, name) for name in NAMES}


NAMES = tuple(each.name for each in fields(Flags))

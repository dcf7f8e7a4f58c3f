"""The records that gateways share about the control plane's users: who is logged in, and which switches are overridden."""

from dataclasses import field
from datetime import datetime

from libs.messages.codec import record


@record()
class Session:
    """A login that is still good."""

    digest: str
    """Hash (hex) of the token in the user's cookie; the token itself is kept nowhere."""
    user: str
    created_at: datetime
    expires_at: datetime


@record()
class Sessions:
    """All logins, the oldest first."""

    sessions: tuple[Session, ...] = ()


@record()
class Overrides:
    """Switches of the control plane that are not as they are set, by the names that `/_fn/ui-state` has for them."""

    flags: dict[str, bool] = field(default_factory=dict)

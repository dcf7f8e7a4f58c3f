"""What gateways ask the registry about versions: which are kept, rollbacks, aliases."""

from datetime import datetime

from libs.messages.audit import Actor
from libs.messages.catalog import Share
from libs.messages.codec import record


@record()
class VersionList:
    """Ask for the versions of a function that are kept, newest first; answered by `Versions`."""

    namespace: str = "default"
    runtime: str
    function: str
    limit: int = 50


@record()
class KeptVersion:
    """A version that was deployed and is kept."""

    digest: str
    label: str
    """Under which it was deployed."""
    bundle: str
    entrypoint: str
    created_at: datetime
    """When it was deployed first."""
    by: str = ""
    """Who deployed it first: a principal, as in the audit trail; empty: it is not known."""
    labels: tuple[str, ...] = ()
    """Labels that lead to it now; empty: it is not in use."""
    aliases: tuple[str, ...] = ()
    """Aliases that lead to it now."""
    held_for: tuple[str, ...] = ()
    """Labels that were rolled back from it: the source gives it, and it does not run."""


@record()
class PinView:
    """A label that was rolled back."""

    label: str
    digest: str
    """What runs."""
    held: str
    """Digest of what the source gives."""
    since: datetime
    by: str = ""


@record()
class Versions:
    """The versions of a function, newest first."""

    revision: int
    """Of the function."""
    versions: tuple[KeptVersion, ...]
    pins: tuple[PinView, ...] = ()


@record()
class Rollback:
    """Pin a label to an earlier version; answered by `Steered`."""

    actor: Actor
    namespace: str = "default"
    runtime: str
    function: str
    label: str = "default"
    digest: str = ""
    """The version, by its digest or the first digits of it (8 at least); empty: the one that ran before this one."""
    expected: int = 0
    """Revision that the function has to have; 0: any."""


@record()
class Unpin:
    """Give a label back to its source; answered by `Steered`."""

    actor: Actor
    namespace: str = "default"
    runtime: str
    function: str
    label: str = "default"
    expected: int = 0


@record()
class SetAlias:
    """Add or replace an alias; answered by `Steered`."""

    actor: Actor
    namespace: str = "default"
    runtime: str
    function: str
    alias: str
    shares: tuple[Share, ...]
    """Each names a version by label, or by digest or the first digits of it (8 at least)."""
    expected: int = 0


@record()
class RemoveAlias:
    """Remove an alias; answered by `Steered`."""

    actor: Actor
    namespace: str = "default"
    runtime: str
    function: str
    alias: str
    expected: int = 0


@record()
class Steered:
    """Where the labels of a function lead was changed."""

    revision: int
    """Of the function, from when on it is so."""
    before: str = ""
    """Digest that a label led to."""
    after: str = ""
    """Digest that it leads to now."""
    pinned: bool = False
    """Whether the label is pinned now."""

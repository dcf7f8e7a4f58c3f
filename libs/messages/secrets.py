"""The records about secrets: values that the registry keeps under a name, for functions that ask; no one reads one back."""

from dataclasses import field
from datetime import datetime

from libs.messages.audit import Actor
from libs.messages.codec import record


@record()
class SecretList:
    """Ask the registry which secrets there are; answered by `Secrets`."""

    namespace: str = "default"


@record()
class SecretInfo:
    """That there is a secret, and since when."""

    key: str
    created_at: datetime
    updated_at: datetime | None = None
    """When its value was last set anew; None: it has its first one."""


@record()
class Secrets:
    """The secrets of a namespace, by name."""

    secrets: tuple[SecretInfo, ...] = ()


@record()
class SetSecret:
    """Ask the registry to keep a value under a name; answered by `SecretInfo`."""

    namespace: str = "default"
    key: str
    value: str = field(repr=False)
    actor: Actor = Actor()


@record()
class RemoveSecret:
    """Ask the registry to forget a secret; answered by `SecretRemoved`."""

    namespace: str = "default"
    key: str
    actor: Actor = Actor()


@record()
class SecretRemoved:
    """The secret is not there any more."""


@record()
class RotateKeys:
    """Ask a registry to seal anew what is not under the key that seals now, step by step; answered by `RotatedKeys`."""

    after: str = ""
    """Where the step before this one has ended; empty: from the beginning."""
    limit: int = 0
    """How many things to look at in this step; 0: as many as are usual."""
    actor: Actor = Actor()


@record()
class RotatedKeys:
    """What one step came to."""

    key: str
    """Id of the key that seals now."""
    total: int = 0
    """How many things there are to look at in all; told by the first step."""
    looked: int = 0
    resealed: int = 0
    failed: tuple[str, ...] = ()
    """What is still under another key, in words."""
    after: str = ""
    """Where to go on; empty: it is through."""

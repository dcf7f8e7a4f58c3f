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

    existed: bool

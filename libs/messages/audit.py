"""The records of who changed what: made by the registry with each of its writes, and asked for by gateways."""

from dataclasses import field
from datetime import datetime
from typing import Any

from libs.messages.codec import record


@record()
class Actor:
    """Who asked for a write; carried by every request that makes one."""

    principal: str = ""
    """`folder`: the functions folder; `admin-token`; `local`: somebody on the gateway's machine; else the name of a user."""
    ip: str = ""
    """Where the request came from; empty when there was none."""
    request_id: str = ""
    """Of the HTTP request; empty when there was none."""


FOLDER_ACTOR = Actor(principal="folder")
"""What lies in the functions folder."""


@record()
class AuditRecord:
    """One write of the registry. It holds no value: digests, numbers and names of fields only."""

    id: str
    """Later records have greater ids."""
    at: datetime
    actor: Actor
    action: str
    """What was done, `<subject>.<verb in the past>`: `function.deployed`, `secret.removed` …"""
    namespace: str = "default"
    runtime: str = ""
    function: str = ""
    """Empty when it was about no function."""
    subject: str = ""
    """What of it: a version's label, an alias, a secret's name, a file's path."""
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    """Names of the fields that are different now, `default.code`, `v2.policy.timeout_ms`, `routes` …"""


@record()
class AuditList:
    """Ask the registry for the newest audit records; answered by `AuditPage`."""

    namespace: str = ""
    function: str = ""
    """Empty: of all functions, and of what is no function's."""
    limit: int = 50
    before: str = ""
    """Only records with a smaller id: the `next` of the page before. Empty: from the newest on."""


@record()
class AuditPage:
    """Audit records, newest first."""

    records: tuple[AuditRecord, ...]
    next: str = ""
    """What to ask for `before` to go on; empty at the end."""

"""Facts about functions (`event.function.*`): what has happened to them, for whoever wants to know; never a request."""

from dataclasses import field
from datetime import datetime

from libs.messages.audit import Actor
from libs.messages.codec import record


@record()
class FunctionFact:
    """What became of one function."""

    namespace: str
    runtime: str
    name: str
    revision: int
    """The function's revision now; the last one of a function that was deleted."""
    at: datetime
    versions: dict[str, str] = field(default_factory=dict[str, str])
    """Digests of the versions that run, by label; empty for a function that was deleted."""
    source: str = "folder"
    """Where the function comes from: `folder`, or `api` where the registry's store has its files."""
    actor: Actor = Actor()
    """Who did it."""


@record()
class FunctionFacts:
    """`event.function.created`, `event.function.updated`, `event.function.deleted`: functions to which that has happened."""

    facts: tuple[FunctionFact, ...]
    """In the order in which it happened; several, for thousands may be deployed at once."""

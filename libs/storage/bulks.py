"""Which writes of a group may go to a server together: pure planning, nothing is sent here.

A server may make the statements of one command in any order, so a group is cut where one write must see what an earlier one
did. What is left between two cuts is sorted into commands by collection and kind.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from libs.storage.port import Document, RevisionConflictError

COMMAND_BYTES = 24 * 1024 * 1024
"""Of documents in one command; a message may have 48 MB."""
INSERTS = 10_000
"""Documents in one insert command."""
REPLACES = 64
"""Statements in one update command: a server works through them one by one, and the answer must come in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Insert:
    """Add documents."""

    collection: str
    ids: tuple[str, ...]
    documents: tuple[bytes, ...]
    """As BSON, in the order of `ids`."""
    skip_taken: bool
    """Whether a taken key is left out instead of refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """Replace a document at a revision."""

    collection: str
    ids: tuple[str]
    revision: int
    fields: bytes
    """What the server is to hold, without `_id`, as BSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Remove documents."""

    collection: str
    ids: tuple[str, ...]
    """The one document's; empty when it is all that meet the filter."""
    filter: Document


type Write = Insert | Replace | Delete


class Settled:
    """What a group's writes so far have settled: of many that replace one revision, only the first must be sent.

    Once the server has answered for the first, the revision is gone, whoever replaced it.
    """

    def __init__(self) -> None:
        self._revisions: dict[tuple[str, str], int] = {}

    def learn(self, write: Write, result: int | Exception) -> None:
        """Take in what became of a write."""
        if isinstance(write, Replace) and isinstance(result, int | RevisionConflictError):
            self._revisions[write.collection, write.ids[0]] = write.revision
        elif isinstance(write, Delete) and not write.ids:
            self._revisions.clear()
        else:
            for one in write.ids:
                self._revisions.pop((write.collection, one), None)

    def lost(self, write: Write) -> bool:
        """Return whether the write is too late for certain."""
        return isinstance(write, Replace) and self._revisions.get((write.collection, write.ids[0])) == write.revision


def segments(writes: Sequence[Write]) -> list[list[int]]:
    """Return the positions of the writes, cut at a document's second write and around each delete by filter."""
    cut: list[list[int]] = [[]]
    touched: set[tuple[str, str]] = set()
    for at, write in enumerate(writes):
        own = {(write.collection, one) for one in write.ids}
        alone = isinstance(write, Delete) and not write.ids
        if alone or own & touched:
            cut.append([])
            touched = set()
        cut[-1].append(at)
        touched |= own
        if alone:
            cut.append([])
    return [segment for segment in cut if segment]


def parts(writes: Sequence[Write], segment: Sequence[int]) -> list[list[int]]:
    """Return the positions of a segment, sorted by what can go into one command."""
    sorted_out: dict[tuple[str, type[Insert | Replace | Delete]], list[int]] = {}
    for at in segment:
        sorted_out.setdefault((writes[at].collection, type(writes[at])), []).append(at)
    return list(sorted_out.values())


def chunks(sizes: Sequence[int], *, most: int = INSERTS) -> Iterator[tuple[int, int]]:
    """Return where to cut a row of documents of these sizes in bytes, so that each slice fits into one command.

    Args:
        sizes: of the documents.
        most: documents in one command.
    """
    begin = total = 0
    for at, size in enumerate(sizes):
        total += size
        if at > begin and (total > COMMAND_BYTES or at - begin == most):
            yield begin, at
            begin, total = at, size
    if begin < len(sizes):
        yield begin, len(sizes)

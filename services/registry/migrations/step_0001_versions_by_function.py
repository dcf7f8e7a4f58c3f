"""Form 1: a version's document belongs to one function.

Before, its `_id` was the digest alone, so that of two functions with equal code only the first had its versions listed, and a
rollback of the other found nothing. Now it is `<function's id>@<digest>`, with the digest, who deployed it and when as fields.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from libs.messages import codec
from libs.messages.catalog import FunctionEntry
from libs.storage.port import Collection, Document, Index, Store, Where

_FUNCTIONS = Collection("functions", (Index(("source",)),))
_VERSIONS = Collection("versions", (Index(("function",)),))
_PAGE = 200


async def apply(store: Store, alive: Callable[[], Awaitable[None]]) -> None:
    """Give each version the document of its function, then those that functions use and that had none; drop the old ones."""
    after = ""
    while True:
        page = await store.find(_VERSIONS, [Where("_id", ">", after)], sort="_id", limit=_PAGE)
        former = [each for each in page if "digest" not in each]
        if former:
            await store.insert_many(_VERSIONS, [_renamed(each) for each in former])
            for each in former:
                await store.delete(_VERSIONS, each["_id"], revision=each["revision"])
        await alive()
        if len(page) < _PAGE:
            break
        after = page[-1]["_id"]
    after, now = "", datetime.now(UTC)  # when they were deployed is not known
    while True:
        page = await store.find(_FUNCTIONS, [Where("_id", ">", after)], sort="_id", limit=_PAGE)
        missing = [each for document in page for each in await _in_use(store, document, now)]
        if missing:
            await store.insert_many(_VERSIONS, missing)
        await alive()
        if len(page) < _PAGE:
            return
        after = page[-1]["_id"]


def _renamed(former: Document) -> Document:
    digest = former["_id"]
    return {
        "_id": f"{former['function']}@{digest}",
        "function": former["function"],
        "digest": digest,
        "label": former["label"],
        "bundle": former["bundle"],
        "deployed_at": former["created_at"],
        "by": "",
        "created_at": former["created_at"],
        "version": former["version"],
    }


async def _in_use(store: Store, document: Document, now: datetime) -> list[Document]:
    """Return documents for the versions that a function uses and that have none."""
    try:
        entry = codec.decode(FunctionEntry, document["entry"])
    except codec.MalformedMessageError:
        return []  # left alone, as everywhere
    missing: list[Document] = []
    for version in entry.versions:
        identity = f"{document['_id']}@{version.digest}"
        if version.resolution.state in ("none", "ok") and await store.get(_VERSIONS, identity) is None:
            missing.append(
                {
                    "_id": identity,
                    "function": document["_id"],
                    "digest": version.digest,
                    "label": version.label,
                    "bundle": version.bundle,
                    "deployed_at": now,
                    "by": "",
                    "created_at": now,
                    "version": codec.encode(version),
                }
            )
    return missing

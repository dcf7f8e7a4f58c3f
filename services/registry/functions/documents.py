"""The documents of the registry: which collections there are, and how records become documents and back.

A record is kept as the bytes that would cross the bus, beside the few fields that are searched for. So user-given keys
(`$`, `.` in a schedule's headers) never meet a database's rules for field names, and a document is read in one step.
"""

from dataclasses import replace
from datetime import datetime

from libs.messages import codec, subjects
from libs.messages.catalog import Bundle, CatalogMeta, FunctionEntry, VersionEntry
from libs.storage.port import Collection, Document, Index

FUNCTIONS = Collection("functions", (Index(("source",)),))
"""What a function is now, or that it is gone: `_id` is `<namespace>/<runtime>/<name>`."""
VERSIONS = Collection("versions", (Index(("function",)),))
"""Every version that was deployed and is still kept; `_id` is `<function's id>@<digest>`. Only its stamp is ever changed."""
BUNDLES = Collection("bundles")
"""Code, by digest; never changed."""
CATALOG = Collection("catalog")
"""Two documents: `meta`, what concerns all functions, and `form`, how all of this is stored (`migrations`)."""

META_ID = "meta"
FORM_ID = "form"

PART_BYTES = 8 * 1024 * 1024
"""Bytes of code in one document: MongoDB's take 16 MiB at most."""


def function_id(*, namespace: str, runtime: str, name: str) -> str:
    """Return the `_id` of a function's document."""
    return f"{namespace}/{runtime}/{name}"


def id_of(entry: FunctionEntry) -> str:
    """Return the `_id` of the document of a function."""
    return function_id(namespace=entry.namespace, runtime=entry.runtime, name=entry.name)


def key_of_id(identity: str) -> str:
    """Return the catalogue's key of the function with that id."""
    namespace, runtime, name = identity.split("/", 2)
    return subjects.catalog_key(namespace=namespace, runtime=runtime, function=name)


def from_entry(entry: FunctionEntry) -> Document:
    """Return the document of a function. Its revision is the store's matter."""
    return {
        "_id": id_of(entry),
        "source": entry.source,
        "entry": codec.encode(replace(entry, revision=0)),
    }


def remains(entry: FunctionEntry, now: datetime) -> Document:
    """Return what stays of a function that is removed: its revision goes on from there, should it come back."""
    return {"_id": id_of(entry), "source": "", "entry": b"", "gone_at": now}


def is_gone(document: Document) -> bool:
    """Return whether a document is what stayed of a function."""
    return "gone_at" in document


def to_entry(document: Document) -> FunctionEntry:
    """Return the function that a document holds, with the document's revision.

    Raises:
        codec.MalformedMessageError: the document was written by a newer registry, or by something else.
    """
    return replace(codec.decode(FunctionEntry, document["entry"]), revision=document["revision"])


def version_id(function: str, digest: str) -> str:
    """Return the `_id` of a version of the function with that id: equal code of two functions is two versions."""
    return f"{function}@{digest}"


def from_version(function: str, version: VersionEntry, now: datetime, *, by: str) -> Document:
    """Return the document of a version of the function with that id, deployed by whom `by` says."""
    return {
        "_id": version_id(function, version.digest),
        "function": function,
        "digest": version.digest,
        "label": version.label,
        "bundle": version.bundle,
        "deployed_at": now,
        "by": by,
        "created_at": now,
        "version": codec.encode(version),
    }


def to_version(document: Document) -> VersionEntry:
    """Return the version that a document holds.

    Raises:
        codec.MalformedMessageError: the document was written by a newer registry, or by something else.
    """
    return codec.decode(VersionEntry, document["version"])


def from_bundle(digest: str, bundle: Bundle, now: datetime) -> list[Document]:
    """Return the documents of a bundle: the parts that a document cannot hold first, the one named by the digest last."""
    data = codec.encode(bundle)
    first, *more = (data[at : at + PART_BYTES] for at in range(0, len(data), PART_BYTES))
    parts: list[Document] = [{"_id": part_id(digest, at), "data": part} for at, part in enumerate(more, start=1)]
    return [*parts, {"_id": digest, "created_at": now, "parts": len(more), "data": first}]


def part_id(digest: str, number: int) -> str:
    """Return the `_id` of a further part of a bundle, from 1."""
    return f"{digest}/{number}"


def from_meta(meta: CatalogMeta) -> Document:
    """Return the document of what concerns all functions."""
    return {"_id": META_ID, "meta": codec.encode(meta)}


def to_meta(document: Document) -> CatalogMeta:
    """Return what concerns all functions.

    Raises:
        codec.MalformedMessageError: the document was written by a newer registry, or by something else.
    """
    return codec.decode(CatalogMeta, document["meta"])

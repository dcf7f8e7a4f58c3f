"""A static file as an answer: its headers, conditions, parts of it. Pure."""

import mimetypes
import re
from email.utils import formatdate, parsedate_to_datetime
from typing import NamedTuple

from libs.messages.web import AssetFile
from services.gateway import requests
from services.gateway.requests import Headers

type AsgiHeaders = list[tuple[bytes, bytes]]

_TYPES = {
    "html": "text/html", "htm": "text/html", "css": "text/css", "js": "text/javascript", "mjs": "text/javascript",
    "json": "application/json", "map": "application/json", "webmanifest": "application/manifest+json", "xml": "application/xml",
    "svg": "image/svg+xml", "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif",
    "webp": "image/webp", "avif": "image/avif", "ico": "image/x-icon", "woff": "font/woff", "woff2": "font/woff2",
    "ttf": "font/ttf", "otf": "font/otf", "wasm": "application/wasm", "pdf": "application/pdf", "txt": "text/plain",
    "md": "text/markdown", "csv": "text/csv", "mp4": "video/mp4", "webm": "video/webm", "mp3": "audio/mpeg",
}  # fmt: skip
"""Given here, for what the system's own tables say differs from machine to machine."""
_BYTES = "application/octet-stream"
_YEAR = b"public, max-age=31536000, immutable"
_REVALIDATE = b"public, max-age=0, must-revalidate"
_HEXADECIMAL = re.compile(r"[0-9a-f]{8,64}")
_WORD = re.compile(r"[._-]([0-9A-Za-z_-]+)\.[a-z0-9.]+$")
_RANGE = re.compile(r"bytes=(\d{0,100})-(\d{0,100})")
_HASH_LENGTH = 8


class Plan(NamedTuple):
    """How a file is to be answered, before its bytes are there."""

    status: int
    headers: AsgiHeaders
    start: int = 0
    end: int = 0
    """The bytes from `start` to before `end` are sent."""


def plan(file: AssetFile, request: Headers) -> Plan:
    """Return how to answer a GET or HEAD for a file."""
    tag = f'W/"{file.digest[:32]}"'
    headers: AsgiHeaders = [
        (b"content-type", _type_of(file.path).encode()),
        (b"cache-control", _YEAR if is_hashed(file.path) else _REVALIDATE),
        (b"etag", tag.encode()),
        (b"last-modified", formatdate(file.modified, usegmt=True).encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    if _is_fresh(file, tag, request):
        return Plan(304, headers)
    wanted = requests.first(request, "range")
    if not wanted or "if-range" in request:
        return Plan(200, [*headers, (b"accept-ranges", b"bytes")], 0, file.size)
    part = _part(wanted, file.size)
    if part is None:
        return Plan(200, headers, 0, file.size)
    start, end = part
    if start >= end:
        return Plan(416, [*headers, (b"content-range", b"bytes */%d" % file.size)])
    return Plan(206, [*headers, (b"content-range", b"bytes %d-%d/%d" % (start, end - 1, file.size))], start, end)


def is_hashed(path: str) -> bool:
    """Whether a file's name holds a hash of its content, as bundlers write it: another content would have another name."""
    found = _WORD.search(path.rpartition("/")[2])
    if found is None:
        return False
    word = found[1].rpartition("-")[2] if len(found[1]) > _HASH_LENGTH and "-" in found[1] else found[1]
    digit = any(letter.isdigit() for letter in word)
    if _HEXADECIMAL.fullmatch(word):
        return digit and any(letter.isalpha() for letter in word)
    upper = any(letter.isupper() for letter in word)
    lower = any(letter.islower() for letter in word)
    return len(word) == _HASH_LENGTH and digit and upper and lower


def _is_fresh(file: AssetFile, tag: str, request: Headers) -> bool:
    tags = requests.joined(request, "if-none-match")
    if tags:
        plain = tag.removeprefix("W/")
        return any(each.strip() == "*" or each.strip().removeprefix("W/") == plain for each in tags.split(","))
    since = requests.first(request, "if-modified-since")
    if not since:
        return False
    try:
        return file.modified <= int(parsedate_to_datetime(since).timestamp())
    except (ValueError, TypeError, OverflowError):
        return False


def _part(wanted: str, size: int) -> tuple[int, int] | None:
    """Return the part that a `Range` names; None when it names none, or several."""
    found = _RANGE.fullmatch(wanted.replace(" ", ""))
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        return (max(0, size - int(last)), size) if int(last) else (size, size)
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size


def _type_of(path: str) -> str:
    ending = path.rpartition("/")[2].rpartition(".")[2].lower() if "." in path else ""
    kind = _TYPES.get(ending) or mimetypes.guess_type(path)[0] or _BYTES
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind

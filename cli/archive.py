"""What a file of `fnbus export` is: a zip with a manifest, and what has to be true of one before anything of it is used.

Bytes in, bytes out; the disk and the platform are left to `cli.backup`. Whoever hands an archive over is not trusted: names,
kinds, sizes and digests are all checked, and an archive with one fault is refused as a whole.
"""

import io
import json
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from cli.aliasing import AliasOf
from cli.errors import CommandError
from cli.shipment import LARGEST_FILE, Item
from libs.messages.trees import is_path

FORMAT = 1
MAX_FILES = 50_000
MAX_BYTES = 256 * 1024 * 1024
"""Of all files, unpacked; and of the archive itself."""

_MANIFEST = "manifest.json"
_MAX_MANIFEST = 32 * 1024 * 1024
_BELOW = "functions/"
_SECRET = "fn.env.json"  # noqa: S105  a file's name
_DIGEST = re.compile(r"[0-9a-f]{64}")
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 0x1
_WHEN = (1980, 1, 1, 0, 0, 0)
"""The same files make the same bytes."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What an archive tells of itself beside its files."""

    fnbus: str
    """Version of fnbus that wrote it."""
    exported_at: str
    namespace: str
    values: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """Names of environment values that were left out, by the path of their file."""
    secrets: Sequence[str] = ()
    """Names of the secrets that were left out."""
    not_exported: Sequence[str] = ()
    """Files that cannot be brought to a platform: by their name, or too large."""
    aliases: Sequence[AliasOf] = ()
    """Those that lead to labels."""
    aliases_left_out: Sequence[str] = ()
    """Those that lead to a former version, which is not in it."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """What is in a file, checked."""

    about: About
    items: tuple[Item, ...]


def fits(path: str, size: int) -> bool:
    """Tell whether a file can be in an archive."""
    return is_path(path) and path.rpartition("/")[2].lower() != _SECRET and size <= LARGEST_FILE


def pack(items: Sequence[Item], about: About) -> bytes:
    """Return an archive.

    Raises:
        CommandError: there would be none that could be imported.
    """
    _check([(item.path, len(item.data)) for item in items])
    told = {
        "format": FORMAT,
        "fnbus": about.fnbus,
        "exported_at": about.exported_at,
        "namespace": about.namespace,
        "values_left_out": {path: list(keys) for path, keys in sorted(about.values.items())},
        "secrets_left_out": list(about.secrets),
        "not_exported": list(about.not_exported),
        "aliases": [
            {"runtime": each.runtime, "name": each.name, "alias": each.alias, "versions": dict(each.versions)}
            for each in about.aliases
        ],
        "aliases_left_out": list(about.aliases_left_out),
        "files": [{"path": item.path, "size": len(item.data), "sha256": item.digest} for item in items],
    }
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as written:
        _write(written, _MANIFEST, json.dumps(told, indent=2).encode() + b"\n")
        for item in sorted(items, key=lambda each: each.path):
            _write(written, _BELOW + item.path, item.data)
    return into.getvalue()


def unpack(data: bytes) -> Archive:
    """Return what is in an archive.

    Raises:
        CommandError: it is none, or there is a fault in it.
    """
    if len(data) > MAX_BYTES:
        raise CommandError(f"the archive is larger than {MAX_BYTES // 1024 // 1024} MiB")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as held:
            return _unpacked(held)
    # What the library raises for bytes that make no sense.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError, ValueError) as error:
        raise CommandError(f"this is no archive of fnbus, or it is damaged: {error}") from None


def _unpacked(held: zipfile.ZipFile) -> Archive:
    entries = held.infolist()
    if len(entries) > MAX_FILES + 1:
        raise CommandError(f"there are more than {MAX_FILES} files in the archive")
    for entry in entries:
        _check_kind(entry)
    manifests = [entry for entry in entries if entry.orig_filename == _MANIFEST]
    if len(manifests) != 1 or manifests[0].file_size > _MAX_MANIFEST:
        raise CommandError(f"there is no {_MANIFEST} in it: this is no archive of fnbus")
    files = {entry.orig_filename: entry for entry in entries if entry is not manifests[0]}
    for name in files:
        if not name.startswith(_BELOW):
            raise CommandError(f"the archive holds {_safe(name)}, which is not below {_BELOW}")
    inner = [(entry.orig_filename.removeprefix(_BELOW), entry.file_size) for entry in entries if entry is not manifests[0]]
    _check(inner)
    about, known = _told(_read(held, manifests[0]))
    odd = set(known) ^ {path for path, _ in inner}
    if odd:
        raise CommandError(f"the manifest and the files of the archive differ, as in {_safe(min(odd))}")
    items: list[Item] = []
    for path, (size, digest) in sorted(known.items()):
        item = Item(path=path, data=_read(held, files[_BELOW + path]))
        if len(item.data) != size or item.digest != digest:
            raise CommandError(f"{path} is not what the manifest says: the archive is damaged or was changed")
        items.append(item)
    return Archive(about=about, items=tuple(items))


def _check_kind(entry: zipfile.ZipInfo) -> None:
    """Let pass plain files.

    Raises:
        CommandError: it is a link, a folder, a device, encrypted, or packed in a way that is not expected.
    """
    kind = stat.S_IFMT(entry.external_attr >> 16)
    # A name is cut at a NUL by the library: what is checked has to be what is used.
    if kind not in (0, stat.S_IFREG) or entry.is_dir() or entry.orig_filename != entry.filename:
        raise CommandError(f"the archive holds {_safe(entry.orig_filename)}, which is no plain file")
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _METHODS:
        raise CommandError(f"{_safe(entry.orig_filename)} is encrypted, or packed in a way that fnbus does not write")


def _check(files: Sequence[tuple[str, int]]) -> None:
    """Let pass paths and sizes that can be files of a platform, wherever that keeps them.

    Raises:
        CommandError: one is none, there are too many, or two would be one where upper and lower case are the same.
    """
    if len(files) > MAX_FILES:
        raise CommandError(f"there are more than {MAX_FILES} files")
    if sum(size for _, size in files) > MAX_BYTES:
        raise CommandError(f"the files have more than {MAX_BYTES // 1024 // 1024} MiB in all")
    seen: dict[str, tuple[str, bool]] = {}
    for path, size in files:
        if not fits(path, size):
            raise CommandError(f"{_safe(path)} cannot be a file of a platform: its name or its size does not fit")
        for whole, is_file in _steps(path):
            known = seen.get(whole.lower())
            if known is not None and (is_file or known != (whole, False)):
                raise CommandError(f"{path} and {known[0]} cannot both be there: they differ in upper and lower case at most")
            seen[whole.lower()] = (whole, is_file)


def _steps(path: str) -> Iterable[tuple[str, bool]]:
    """Yield the folders that a path leads through, and the path itself (True)."""
    parts = path.split("/")
    for count in range(1, len(parts)):
        yield "/".join(parts[:count]), False
    yield path, True


def _told(data: bytes) -> tuple[About, Mapping[str, tuple[int, str]]]:
    """Return what a manifest says: of the archive, and size and digest by path.

    Raises:
        CommandError: it is none, or of another format.
    """
    try:
        found: object = json.loads(data)
    except (ValueError, RecursionError):
        raise CommandError(f"{_MANIFEST} is not JSON") from None
    told = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    form: object = told.get("format")
    if type(form) is not int or form != FORMAT:
        raise CommandError(f"the archive has the format {str(form)[:20]}, and this fnbus reads {FORMAT}: update fnbus")
    files: dict[str, tuple[int, str]] = {}
    for each in _list(told.get("files")):
        file = cast("dict[str, Any]", each) if isinstance(each, dict) else {}
        path, size, digest = file.get("path"), file.get("size"), file.get("sha256")
        fits_in = isinstance(path, str) and type(size) is int and isinstance(digest, str) and _DIGEST.fullmatch(digest)
        if not fits_in or path in files:
            raise CommandError(f"{_MANIFEST} names a file twice, or without path, size and sha256")
        files[str(path)] = (int(str(size)), str(digest))
    left = told.get("values_left_out")
    values = cast("dict[str, object]", left) if isinstance(left, dict) else {}
    about = About(
        fnbus=_safe(told.get("fnbus")),
        exported_at=_safe(told.get("exported_at")),
        namespace=_safe(told.get("namespace")),
        values={_safe(path): _texts(keys) for path, keys in values.items()},
        secrets=_texts(told.get("secrets_left_out")),
        not_exported=_texts(told.get("not_exported")),
        aliases=tuple(map(_alias, _list(told.get("aliases")))),
        aliases_left_out=_texts(told.get("aliases_left_out")),
    )
    return about, files


def _alias(value: object) -> AliasOf:
    """Return an alias that a manifest tells.

    Raises:
        CommandError: it is none.
    """
    told = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    versions = told.get("versions")
    shares = cast("dict[str, object]", versions) if isinstance(versions, dict) else {}
    weights = {_safe(label): weight for label, weight in shares.items() if type(weight) is int}
    texts = [_safe(told.get(key)) for key in ("runtime", "name", "alias")]
    if not all(texts) or not weights or len(weights) != len(shares):
        raise CommandError(f"{_MANIFEST} names an alias without runtime, name, alias and weights")
    return AliasOf(runtime=texts[0], name=texts[1], alias=texts[2], versions=weights)


def _read(held: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return the content of an entry, as much as it is said to have and no more."""
    with held.open(entry) as file:
        return file.read(entry.file_size + 1)


def _write(written: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, date_time=_WHEN)
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    written.writestr(entry, data)


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_safe(each) for each in _list(value) if isinstance(each, str))


def _safe(value: object) -> str:
    """Return a text that a terminal can be given: nothing in an archive may speak to it."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value or "")[:500])

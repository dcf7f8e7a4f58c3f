"""`fnbus export` and `fnbus import`: all files of a platform's functions into one file, and back the way a deploy goes.

Packs that functions share are files, too; aliases come along as far as they lead to labels.

Values never leave a platform: neither those of `fn.env.json` nor secrets are in the file. Their names are, so that an import
can say what has to be set again.
"""

import base64
import os
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cli import aliasing, archive, deploy, output
from cli.archive import About
from cli.client import Address, GatewayClient
from cli.errors import CommandError, RefusedError
from cli.progress import bar
from cli.shipment import Item

_FILES = "/_fn/files"
_VENDORED = "node_modules"


def export(file: Path, *, at: Address, force: bool, json: bool) -> int:
    """Write all files of the functions to a file; return 1 when some of them cannot be in it.

    Raises:
        CommandError: nothing was written.
    """
    if file.exists() and not force:
        raise CommandError(f"there is {file} already: name another, or say --force")
    with GatewayClient(at) as gateway:
        listing = gateway.ask("GET", _FILES)
        there: Sequence[Mapping[str, Any]] = listing.get("files") or ()
        wanted = {each["path"]: str(each["sha256"]) for each in there if archive.fits(each["path"], each["size"])}
        items = _read(gateway, wanted)
        secrets = _secrets(gateway)
        aliases = _aliases(gateway)
    values = {each["path"]: list(each["keys"]) for each in there if each.get("keys")}
    odd = [each["path"] for each in there if _is_lost(each, wanted)]
    about = About(
        fnbus=version("fnbus"),
        exported_at=datetime.now(UTC).isoformat(timespec="seconds"),
        namespace=str(listing.get("namespace") or "default"),
        values=values,
        secrets=secrets,
        not_exported=odd,
        aliases=aliases.kept,
        aliases_left_out=aliases.former,
    )
    _write(file, archive.pack(items, about))
    size = sum(len(item.data) for item in items)
    if json:
        told = {"file": str(file), "files": len(items), "bytes": size, "namespace": about.namespace}
        told |= {"aliases": [str(each) for each in aliases.kept], "aliases_left_out": list(aliases.former)}
        output.as_json(told | {"values_left_out": values, "secrets_left_out": secrets, "not_exported": odd})
    else:
        for path in odd:
            output.remark(f"{path} is not in it: its name or its size does not fit", fg="yellow")
        for alias in aliases.former:
            output.remark(f"the alias {alias} is not in it: it leads to a former version", fg="yellow")
        deploy.tell_unset(values, secrets, "values are not in it, and have to be set again after an import:")
        output.remark(f"exported {len(items)} files ({size:,} bytes) to {file}", fg="yellow" if odd else "green")
    return 1 if odd else 0


def import_(file: Path, how: deploy.Wanted, *, at: Address, json: bool) -> int:
    """Bring what an export wrote to a platform, as a deploy; return 1 when something of it does not work.

    Raises:
        CommandError: the file cannot be read or has a fault, and nothing was changed; or it could not be brought.
    """
    try:
        if file.stat().st_size > archive.MAX_BYTES:
            raise CommandError(f"{file} is larger than {archive.MAX_BYTES // 1024 // 1024} MiB")
        data = file.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}") from None
    found = archive.unpack(data)
    if not found.items:
        raise CommandError(f"there are no functions in {file}")
    secrets: list[str] = []
    if found.about.secrets:
        with GatewayClient(at) as gateway:
            there = _secrets(gateway)
        secrets = [key for key in found.about.secrets if key not in there]
    needs = deploy.Needs(values=found.about.values, secrets=secrets)
    return deploy.bring(found.items, how, at=at, json=json, needs=needs, aliases=found.about.aliases)


def _read(gateway: GatewayClient, wanted: Mapping[str, str]) -> list[Item]:
    """Return the files with these digests.

    Raises:
        CommandError: they are not what they were a moment ago, so that together they would be no state that there was.
    """
    found: dict[str, Item] = {}
    after, has_more = "", True
    with bar("exporting", total=len(wanted)) as step:
        while has_more:
            page = gateway.ask("GET", _FILES, query={"contents": "1", "after": after})
            if "has_more" not in page:
                raise CommandError("this platform does not show what is in its files: it is older than this command")
            told: Sequence[Mapping[str, Any]] = page.get("files") or ()
            for each in told:
                found[each["path"]] = Item(path=each["path"], data=_data(each))
            step(len(told))
            has_more = bool(page["has_more"] and told)
            after = told[-1]["path"] if told else ""
    if {path: item.digest for path, item in found.items()} != dict(wanted):
        raise CommandError("the functions were changed while they were read: try again")
    return sorted(found.values(), key=lambda item: item.path)


def _data(told: Mapping[str, Any]) -> bytes:
    if "content_base64" in told:
        return base64.b64decode(told["content_base64"])
    return str(told.get("content") or "").encode()


def _is_lost(file: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Tell whether a file should be in an archive and cannot: what is installed again, and values, should not."""
    return file["path"] not in wanted and bool(file.get("sha256")) and _VENDORED not in file["path"].split("/")


def _secrets(gateway: GatewayClient) -> list[str]:
    """Return the names of the secrets, as far as they may be seen."""
    try:
        return sorted(str(each["key"]) for each in gateway.ask_all("GET", "/_fn/secrets"))
    except RefusedError as refusal:
        output.remark(f"the names of secrets cannot be seen: {refusal}", fg="yellow")
        return []


def _aliases(gateway: GatewayClient) -> aliasing.Found:
    """Return all aliases, as far as they may be seen."""
    try:
        return aliasing.read(gateway)
    except RefusedError as refusal:
        output.remark(f"aliases cannot be seen: {refusal}", fg="yellow")
        return aliasing.Found()


def _write(file: Path, data: bytes) -> None:
    """Write a file as a whole or not at all; it is readable for its owner only, as code may be nobody else's business."""
    try:
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "wb") as into:
                into.write(data)
            os.replace(name, file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CommandError(f"cannot write {file}: {error.strerror}") from None

"""An archive is what was packed, or it is refused as a whole; whoever made it is not trusted."""

import hashlib
import io
import json
import stat
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from cli import archive
from cli.aliasing import AliasOf
from cli.archive import About
from cli.errors import CommandError
from cli.shipment import LARGEST_FILE, Item

ABOUT = About(
    fnbus="1.0",
    exported_at="2026-01-01T00:00:00+00:00",
    namespace="default",
    values={"python/demo/fn.env.json": ("A", "B")},
    secrets=("KEY",),
    not_exported=("é.txt",),
    aliases=(AliasOf(runtime="python", name="demo", alias="canary", versions={"default": 90, "v2": 10}),),
    aliases_left_out=("demo@old",),
)
ITEMS = (
    Item(path="manifest.json", data=b"{}"),
    Item(path="python/demo/handler.py", data=b"code\n"),
    Item(path="users/get.[id].js", data=bytes(range(256))),
)


def entry(name: str, *, kind: int = stat.S_IFREG) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo("name")
    made.filename = name  # the constructor would cut it at a NUL
    made.external_attr = (kind | 0o644) << 16
    return made


def made(files: Mapping[str, bytes], /, *, kind: int = stat.S_IFREG, **changed: Any) -> bytes:
    """Return an archive of these files whose manifest is right, as far as nothing is changed in it."""
    manifest = {
        "format": 1,
        "files": [
            {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        ],
    }
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as written:
        written.writestr("manifest.json", json.dumps(manifest | changed))
        for name, data in files.items():
            written.writestr(entry(f"functions/{name}", kind=kind), data)
    return into.getvalue()


def loose(*names: str) -> bytes:
    """Return an archive whose entries have these names, below nothing."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as written:
        for name in names:
            written.writestr(entry(name), b'{"format": 1, "files": []}')
    return into.getvalue()


def test_archive_has_what_was_packed() -> None:
    found = archive.unpack(archive.pack(ITEMS, ABOUT))
    assert found.items == ITEMS
    assert found.about == ABOUT


def test_archive_of_the_same_has_the_same_bytes() -> None:
    assert archive.pack(ITEMS, ABOUT) == archive.pack(ITEMS, ABOUT)


def test_helper_makes_an_archive_that_is_taken() -> None:
    assert archive.unpack(made({"a.py": b"x"})).items == (Item(path="a.py", data=b"x"),)


@pytest.mark.parametrize(
    "path",
    [
        "../x.py",
        "a/../../x.py",
        "/etc/x.py",
        "a//x.py",
        "a/./x.py",
        "..\\x.py",
        "C:\\x.py",
        "C:/x.py",
        ".ssh/config",
        "a/.env",
        "x.py~",
        "a/node_modules/x.js",
        "a\nb",
        "é.py",
        "a" * 501,
        "python/demo/fn.env.json",
        "python/demo/FN.ENV.JSON",
    ],
)
def test_path_that_is_none_is_refused_in_both_directions(path: str) -> None:
    with pytest.raises(CommandError, match="cannot be a file"):
        archive.unpack(made({"ok.py": b"", path: b""}))
    with pytest.raises(CommandError, match="cannot be a file"):
        archive.pack([Item(path=path, data=b"")], ABOUT)


def test_folder_is_refused() -> None:
    with pytest.raises(CommandError, match="no plain file"):
        archive.unpack(made({"a/": b""}))


def test_name_with_nul_is_refused_whatever_the_library_makes_of_it() -> None:
    data = made({"a.pyXb": b""}).replace(b"a.pyXb", b"a.py\0b")
    with pytest.raises(CommandError):
        archive.unpack(data)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR])
def test_link_and_other_kinds_are_refused(kind: int) -> None:
    with pytest.raises(CommandError, match="no plain file"):
        archive.unpack(made({"a.py": b"/etc/passwd"}, kind=kind))


@pytest.mark.parametrize("paths", [("a.py", "A.py"), ("Dir/a.py", "dir/b.py"), ("a", "a/b.py"), ("a/b.py", "A")])
def test_paths_that_clash_where_case_does_not_count_are_refused(paths: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match="cannot both be there"):
        archive.unpack(made(dict.fromkeys(paths, b"")))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entry_that_is_there_twice_is_refused() -> None:
    with pytest.raises(CommandError, match="cannot both be there"):
        archive.unpack(loose("manifest.json", "functions/a.py", "functions/a.py"))
    with pytest.raises(CommandError, match="no archive of fnbus"):
        archive.unpack(loose("manifest.json", "manifest.json"))


@pytest.mark.parametrize("name", ["a.py", "../functions/a.py", "/functions/a.py"])
def test_entry_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(CommandError, match="not below functions/"):
        archive.unpack(loose("manifest.json", name))


@pytest.mark.parametrize("form", [0, 2, "1", True, 1.0, None, [1]])
def test_other_format_is_refused(form: object) -> None:
    with pytest.raises(CommandError, match="format"):
        archive.unpack(made({"a.py": b""}, format=form))


FILE = {"path": "a.py", "size": 1, "sha256": hashlib.sha256(b"x").hexdigest()}


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ([], "differ, as in a.py"),
        ([FILE, FILE | {"path": "b.py"}], "differ, as in b.py"),
        ([FILE, FILE], "twice"),
        ([FILE | {"size": 2}], "not what the manifest says"),
        ([FILE | {"sha256": "0" * 64}], "not what the manifest says"),
        ([FILE | {"sha256": "0"}], "without"),
        ([FILE | {"size": True}], "without"),
        ([FILE | {"path": 1}], "without"),
        (["a.py"], "without"),
        ({"a.py": FILE}, "differ"),
    ],
)
def test_manifest_that_does_not_fit_is_refused(files: object, text: str) -> None:
    with pytest.raises(CommandError, match=text):
        archive.unpack(made({"a.py": b"x"}, files=files))


@pytest.mark.parametrize("manifest", [b"", b"[]", b"nothing", b"[" * 200_000, b"\xff"])
def test_manifest_that_is_none_is_refused(manifest: bytes) -> None:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as written:
        written.writestr("manifest.json", manifest)
    with pytest.raises(CommandError):
        archive.unpack(into.getvalue())


def test_file_that_is_too_large_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(CommandError, match="size does not fit"):
        archive.unpack(made({"a.bin": bytes(LARGEST_FILE + 1)}))


def test_too_many_files_and_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = made({f"{number}.py": b"x" * 10 for number in range(3)})
    monkeypatch.setattr(archive, "MAX_FILES", 2)
    with pytest.raises(CommandError, match="more than 2 files"):
        archive.unpack(data)
    monkeypatch.undo()
    monkeypatch.setattr(archive, "MAX_BYTES", len(data) - 1)
    with pytest.raises(CommandError, match="larger than"):
        archive.unpack(data)


def test_files_that_unpack_to_too_much_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = archive.pack([Item(path=f"{number}.bin", data=bytes(100_000)) for number in range(3)], ABOUT)
    monkeypatch.setattr(archive, "MAX_BYTES", 200_000)
    assert len(data) < 200_000
    with pytest.raises(CommandError, match="in all"):
        archive.unpack(data)


def _nothing(_: bytes) -> bytes:
    return b""


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _other_content(data: bytes) -> bytes:
    return data.replace(b"content", b"c0ntent")


def _encrypted(data: bytes) -> bytes:
    at = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    return data[: at + 8] + bytes([data[at + 8] | 1]) + data[at + 9 :]


def _shorter(data: bytes) -> bytes:
    """Have the directory say that a file has fewer bytes than it has."""
    at = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    return data[: at + 24] + (1).to_bytes(4, "little") + data[at + 28 :]


@pytest.mark.parametrize(
    "spoil",
    [
        _nothing,
        _half,
        _other_content,
        _encrypted,
        _shorter,
    ],
)
def test_archive_that_is_damaged_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(CommandError):
        archive.unpack(spoil(made({"a.py": b"content"})))


def test_texts_of_a_manifest_cannot_speak_to_a_terminal() -> None:
    found = archive.unpack(made({"a.py": b""}, secrets_left_out=["\x1b[2J", 1], values_left_out={"\x07": ["\x1b]0;x"]}))
    assert found.about.secrets == ("?[2J",)
    assert found.about.values == {"?": ("?]0;x",)}


@pytest.mark.parametrize(
    "alias",
    [
        "canary",
        {"runtime": "python", "name": "demo", "alias": "canary"},
        {"runtime": "python", "name": "demo", "alias": "canary", "versions": {}},
        {"runtime": "python", "name": "demo", "alias": "canary", "versions": {"v2": "10"}},
        {"runtime": "python", "name": "", "alias": "canary", "versions": {"v2": 10}},
    ],
)
def test_archive_with_an_alias_that_is_none_is_refused(alias: object) -> None:
    with pytest.raises(CommandError, match="alias without"):
        archive.unpack(made({"a.py": b"x"}, aliases=[alias]))

"""Archives of layers: the same bytes for the same files, and nothing that leads out, in or out."""

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from services.executor.disk import archives
from services.executor.disk.archives import BadArchiveError, Packed

MEGABYTE = 1024 * 1024


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build's folder with an output `out`."""
    made = tmp_path / "build"
    (made / "out" / "lib").mkdir(parents=True)
    (made / "out" / "lib" / "code.py").write_text("x = 1\n")
    (made / "out" / "run").write_text("#!/bin/sh\n")
    (made / "out" / "run").chmod(0o755)
    return made


def packed(build: Path, **options: object) -> bytes:
    sink = io.BytesIO()
    chosen = {"within": build, "max_bytes": MEGABYTE, **options}
    archives.pack(build / "out", sink, **chosen)  # pyright: ignore[reportArgumentType]  the tests' own names
    return sink.getvalue()


def unpacked(data: bytes, folder: Path, *, max_bytes: int = MEGABYTE) -> Packed:
    folder.mkdir()
    return archives.unpack(io.BytesIO(data), folder, max_bytes=max_bytes)


def test_archive_gives_back_files_folders_modes_and_links(build: Path, tmp_path: Path) -> None:
    (build / "out" / "short").symlink_to("lib/code.py")
    (build / "out" / "empty").mkdir()
    found = unpacked(packed(build), tmp_path / "layer")
    layer = tmp_path / "layer"
    assert found == Packed(files=2, size=16)
    assert (layer / "short").read_text() == "x = 1\n"
    assert (layer / "short").readlink() == Path("lib/code.py")
    assert (layer / "empty").is_dir()
    assert (layer / "run").stat().st_mode & 0o777 == 0o555
    assert (layer / "lib" / "code.py").stat().st_mode & 0o777 == 0o444


def test_archive_is_the_same_whenever_and_in_whatever_order_files_were_made(build: Path, tmp_path: Path) -> None:
    first = packed(build)
    other = tmp_path / "other"
    (other / "out" / "lib").mkdir(parents=True)
    (other / "out" / "run").write_text("#!/bin/sh\n")
    (other / "out" / "run").chmod(0o700)
    (other / "out" / "lib" / "code.py").write_text("x = 1\n")
    os.utime(other / "out" / "lib" / "code.py", (1, 1))
    assert packed(other) == first


def test_program_alone_is_a_layer_of_one_file(build: Path, tmp_path: Path) -> None:
    sink = io.BytesIO()
    archives.pack(build / "out" / "run", sink, within=build, max_bytes=MEGABYTE)
    unpacked(sink.getvalue(), tmp_path / "layer")
    assert [each.name for each in (tmp_path / "layer").iterdir()] == ["run"]


def test_link_to_another_folder_of_the_build_becomes_a_copy(build: Path, tmp_path: Path) -> None:
    (build / "local" / "sub").mkdir(parents=True)
    (build / "local" / "sub" / "index.js").write_text("1")
    (build / "out" / "local").symlink_to("../local")
    (build / "out" / "absolute").symlink_to(build / "out" / "lib")
    unpacked(packed(build), tmp_path / "layer")
    assert (tmp_path / "layer" / "local" / "sub" / "index.js").read_text() == "1"
    assert not (tmp_path / "layer" / "local").is_symlink()
    assert (tmp_path / "layer" / "absolute" / "code.py").is_file()


def spoil_with_link_out(out: Path) -> None:
    (out / "passwd").symlink_to("/etc/passwd")


def spoil_with_fifo(out: Path) -> None:
    os.mkfifo(out / "pipe")


def spoil_with_loop(out: Path) -> None:
    (out / "lib" / "up").symlink_to("../..")


def spoil_with_dangling_link(out: Path) -> None:
    (out / "gone").symlink_to("/nowhere/at/all")


def spoil_with_size(out: Path) -> None:
    with (out / "large").open("wb") as file:
        file.truncate(MEGABYTE)


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (spoil_with_link_out, "leads out of the build"),
        (spoil_with_dangling_link, "leads out of the build"),
        (spoil_with_loop, "leads out of the build"),
        (spoil_with_fifo, "neither a file"),
        (spoil_with_size, "more than 1 MB"),
    ],
    ids=["link-out", "dangling", "loop", "fifo", "size"],
)
def test_outcome_that_no_layer_may_have_is_refused(build: Path, spoil: Callable[[Path], None], fault: str) -> None:
    spoil(build / "out")
    with pytest.raises(BadArchiveError, match=fault):
        packed(build)


def test_missing_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArchiveError, match="left no out"):
        packed(tmp_path)


def test_credentials_never_get_into_a_layer(build: Path) -> None:
    (build / "out" / "lib" / "url.txt").write_bytes(b"x" * (MEGABYTE // 2) + b"https://me:s3cret-token@index/")
    with pytest.raises(BadArchiveError, match=r"lib/url.txt holds credentials"):
        packed(build, forbidden=[b"s3cret-token"])


type Entry = tuple[str, bytes, str]
"""Name, type and link target."""


@pytest.mark.parametrize(
    "entries",
    [
        [("../evil", tarfile.REGTYPE, "")],
        [("a/../../evil", tarfile.REGTYPE, "")],
        [("/evil", tarfile.REGTYPE, "")],
        [("a\\..\\evil", tarfile.REGTYPE, "")],
        [("link", tarfile.SYMTYPE, "/etc/passwd")],
        [("link", tarfile.SYMTYPE, "../secret")],
        [("a", tarfile.DIRTYPE, ""), ("a/link", tarfile.SYMTYPE, "../../secret")],
        [("a", tarfile.SYMTYPE, "."), ("a/evil", tarfile.REGTYPE, "")],
        # Each stays inside by its text; together they do not.
        [("d", tarfile.DIRTYPE, ""), ("d/up", tarfile.SYMTYPE, ".."), ("out", tarfile.SYMTYPE, "d/up/..")],
        [("hard", tarfile.LNKTYPE, "/etc/passwd")],
        [("null", tarfile.CHRTYPE, "")],
        [("disk", tarfile.BLKTYPE, "")],
        [("pipe", tarfile.FIFOTYPE, "")],
        [("same", tarfile.REGTYPE, ""), ("same", tarfile.REGTYPE, "")],
        [("file", tarfile.REGTYPE, ""), ("file/below", tarfile.REGTYPE, "")],
    ],
    ids=[
        "up", "hidden-up", "absolute", "backslash", "link-absolute", "link-up", "link-up-below", "through-link", "link-chain",
        "hard-link", "character-device", "block-device", "fifo", "twice", "below-a-file",
    ],
)  # fmt: skip
def test_archive_that_leads_out_is_refused(entries: list[Entry], tmp_path: Path) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        for name, kind, target in entries:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            member.size = 4 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(BadArchiveError):
        unpacked(sink.getvalue(), tmp_path / "layer")
    assert not (tmp_path / "evil").exists()


def test_archive_that_unpacks_to_too_much_is_refused_before_it_is_written(build: Path, tmp_path: Path) -> None:
    with (build / "out" / "bomb").open("wb") as file:
        file.truncate(64 * MEGABYTE)
    data = packed(build, max_bytes=100 * MEGABYTE)
    assert len(data) < MEGABYTE
    with pytest.raises(BadArchiveError, match="more than"):
        unpacked(data, tmp_path / "layer", max_bytes=MEGABYTE)
    assert not (tmp_path / "layer" / "bomb").exists()


@pytest.mark.parametrize("data", [b"", b"not an archive", gzip.compress(b"not a tar" * 100)], ids=["empty", "text", "gzip"])
def test_bytes_that_are_no_archive_are_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadArchiveError):
        unpacked(data, tmp_path / "layer")
    assert not list((tmp_path / "layer").iterdir())


def test_damaged_archive_is_refused(build: Path, tmp_path: Path) -> None:
    data = packed(build)
    with pytest.raises(BadArchiveError):
        unpacked(data[: len(data) // 2], tmp_path / "layer")

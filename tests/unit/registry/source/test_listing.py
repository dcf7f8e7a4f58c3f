"""What is gathered from a functions folder on disk, and what is left out."""

import os
from pathlib import Path

import pytest

from libs import errors
from services.registry.source import listing


def write(root: Path, *paths: str, text: str = "x") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def listed(root: Path) -> list[str]:
    return [file.path for file in listing.scan(root).files]


def test_scan_lists_files_sorted_with_size_and_mode(tmp_path: Path) -> None:
    write(tmp_path, "b/c.py", "a.py", text="hello")
    (tmp_path / "a.py").chmod(0o755)
    found = listing.scan(tmp_path)
    assert [(file.path, file.size, file.executable) for file in found.files] == [("a.py", 5, True), ("b/c.py", 5, False)]
    assert found.problems == ()


def test_scan_leaves_out_what_no_function_needs(tmp_path: Path) -> None:
    write(tmp_path, ".env", ".git/x.py", "a/__pycache__/x.pyc", "a/x.py~", "a/.x.py.swp", "a/x.py")
    assert listed(tmp_path) == ["a/x.py"]


def test_scan_changes_when_a_file_is_replaced_with_the_same_size_and_time(tmp_path: Path) -> None:
    write(tmp_path, "x.py", text="a")
    before = listing.scan(tmp_path)
    write(tmp_path, "y.py", text="b")
    time = before.files[0].mtime_ns
    os.utime(tmp_path / "y.py", ns=(time, time))
    (tmp_path / "y.py").rename(tmp_path / "x.py")
    assert listing.scan(tmp_path) != before


def test_scan_follows_links_inside_and_refuses_those_that_leave(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(tmp_path, "secret.py", "outside/x.py", "root/a/x.py")
    (root / "file.py").symlink_to(root / "a" / "x.py")
    (root / "folder").symlink_to(root / "a")
    (root / "out.py").symlink_to(tmp_path / "secret.py")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "broken.py").symlink_to(tmp_path / "nowhere")
    found = listing.scan(root)
    assert [file.path for file in found.files] == ["a/x.py", "file.py", "folder/x.py"]
    assert [problem.path for problem in found.problems] == ["out", "out.py"]
    assert "leaves the functions folder" in found.problems[0].message


def test_scan_leaves_out_links_that_give_environment_values_another_name(tmp_path: Path) -> None:
    write(tmp_path, "shared/fn.env.json", "a/x.py", "public/y.txt")
    (tmp_path / "a" / "fn.env.json").symlink_to(tmp_path / "shared" / "fn.env.json")
    (tmp_path / "public" / "values.txt").symlink_to(tmp_path / "a" / "fn.env.json")
    found = listing.scan(tmp_path)
    assert [file.path for file in found.files] == ["a/fn.env.json", "a/x.py", "public/y.txt", "shared/fn.env.json"]
    assert [problem.path for problem in found.problems] == ["public/values.txt"]


def test_scan_ends_when_links_go_in_circles(tmp_path: Path) -> None:
    write(tmp_path, "a/x.py", "b/y.py")
    (tmp_path / "a" / "b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "a").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "root").symlink_to(tmp_path)
    assert set(listed(tmp_path)) == {"a/x.py", "b/y.py", "a/b/y.py", "b/a/x.py"}


def test_scan_names_files_whose_names_are_not_utf_8(tmp_path: Path) -> None:
    try:
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.py"))).write_text("x")
    except OSError:
        pytest.skip("this file system has only UTF-8 names")
    found = listing.scan(tmp_path)
    assert found.files == ()
    assert "not UTF-8" in found.problems[0].message
    found.problems[0].path.encode()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_scan_names_folders_that_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path, "a/x.py", "b/y.py")
    (tmp_path / "a").chmod(0)
    found = listing.scan(tmp_path)
    (tmp_path / "a").chmod(0o755)
    assert [file.path for file in found.files] == ["b/y.py"]
    assert found.problems[0].path == "a"


def test_scan_does_not_go_deeper_than_it_may(tmp_path: Path) -> None:
    deep = "/".join("d" * 40)
    write(tmp_path, f"{deep}/x.py", "y.py")
    found = listing.scan(tmp_path)
    assert [file.path for file in found.files] == ["y.py"]
    assert "folders deep" in found.problems[0].message


def test_scan_raises_when_the_folder_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.UnavailableError, match="nowhere"):
        listing.scan(tmp_path / "nowhere")


def test_read_small_refuses_more_than_it_may(tmp_path: Path) -> None:
    write(tmp_path, "x", text="12345")
    assert listing.read_small(tmp_path, "x", limit=5) == b"12345"
    with pytest.raises(OSError, match="larger than 4"):
        listing.read_small(tmp_path, "x", limit=4)


def test_read_small_refuses_a_file_that_became_a_link_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(tmp_path, "secret", "root/y")
    (root / "x").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="leaves the functions folder"):
        listing.read_small(root, "x")


@pytest.mark.parametrize(
    "path", ["a.py", "a/b/c.py", ".a.py", "a/.b/c.py", "a~", "b~/a.py", "__pycache__/a.py", "a/__pycache__", "a__pycache__.py"]
)
def test_blind_spot_is_where_nothing_is_listed(tmp_path: Path, path: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text("x")
    listed = [file.path for file in listing.scan(tmp_path).files]
    assert listed == ([] if listing.blind_spot(path) else [path])


@pytest.mark.parametrize("depth", [listing.MAX_DEPTH - 1, listing.MAX_DEPTH])
def test_blind_spot_is_what_lies_too_deep(tmp_path: Path, depth: int) -> None:
    path = "d/" * depth + "x.py"
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text("x")
    listed = [file.path for file in listing.scan(tmp_path).files]
    assert listed == ([] if listing.blind_spot(path) else [path])

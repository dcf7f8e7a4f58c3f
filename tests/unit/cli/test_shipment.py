"""What is sent: files under the paths that they get, those that differ, in groups that fit."""

from pathlib import Path

import pytest

from cli import shipment
from cli.errors import CommandError
from cli.shipment import Item
from libs.messages.trees import MAX_TREE_FILES

HANDLER = b"def handler(event):\n    return {}\n"


def write(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(HANDLER)
    return root


def paths(what: Path, name: str = "") -> list[str]:
    return [item.path for item in shipment.gather(what, name=name)]


def test_folder_of_functions_keeps_its_paths(tmp_path: Path) -> None:
    write(tmp_path, "get.hello.py", "python/demo/handler.py", "_shared.py", ".hidden", "fastfn.json", "n/node_modules/a/i.js")
    assert paths(tmp_path) == ["_shared.py", "get.hello.py", "python/demo/handler.py"]


@pytest.mark.parametrize(
    ("folder", "name", "expected"),
    [
        ("hello", "", "hello/handler.py"),
        ("python/hello", "", "python/hello/handler.py"),
        ("hello", "acme/hello", "acme/hello/handler.py"),
    ],
)
def test_function_s_own_folder_gets_its_name(tmp_path: Path, folder: str, name: str, expected: str) -> None:
    write(tmp_path, f"{folder}/handler.py")
    assert paths(tmp_path / folder, name) == [expected]


def test_file_gets_its_name_or_the_one_that_is_said(tmp_path: Path) -> None:
    write(tmp_path, "get.hello.py")
    assert paths(tmp_path / "get.hello.py") == ["get.hello.py"]
    assert paths(tmp_path / "get.hello.py", "users/get.[id].py") == ["users/get.[id].py"]


def test_what_is_not_there_or_too_large_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no folder or file"):
        shipment.gather(tmp_path / "missing")
    (tmp_path / "big.bin").write_bytes(b"x" * (shipment.LARGEST_FILE + 1))
    with pytest.raises(CommandError, match=r"big\.bin is larger"):
        shipment.gather(tmp_path)


def test_plan_sends_what_differs_and_names_what_is_only_there() -> None:
    same, other, secret = (Item(path=path, data=b"1") for path in ("f/same.py", "f/other.py", "f/fn.env.json"))
    there = [
        {"path": "f/same.py", "sha256": same.digest},
        {"path": "f/other.py", "sha256": "0" * 64},
        {"path": "f/fn.env.json", "sha256": None},
        {"path": "f/old.py", "sha256": "1"},
        {"path": "g/old.py", "sha256": "1"},
        {"path": "top.py", "sha256": "1"},
    ]
    plan = shipment.plan([same, other, secret], there)
    assert [item.path for item in plan.send] == ["f/other.py", "f/fn.env.json"]
    assert plan.remove == ("f/old.py",)
    assert plan.same == 1


def test_plan_never_removes_the_values_that_were_set_there() -> None:
    plan = shipment.plan([Item(path="f/handler.py", data=b"")], [{"path": "f/fn.env.json", "sha256": None}])
    assert plan.remove == ()


def test_parcels_keep_a_function_together_and_fit_into_a_request() -> None:
    size = 1024 * 1024
    items = [Item(path=f"{name}/{number}.bin", data=b"x" * size) for name in ("a", "b") for number in range(2)]
    groups = shipment.parcels(items)
    assert [[item.path for item in group] for group in groups] == [["a/0.bin", "a/1.bin"], ["b/0.bin", "b/1.bin"]]
    many = [Item(path=f"a/{number}.bin", data=b"x" * size) for number in range(5)]
    assert [len(group) for group in shipment.parcels(many)] == [3, 2]
    assert shipment.parcels([]) == []


def test_item_is_told_as_text_when_it_is_text() -> None:
    assert Item(path="a", data=b"text").told() == {"content": "text"}
    assert Item(path="a", data=b"\xff").told() == {"content_base64": "/w=="}


def test_packs_of_a_folder_come_along_and_those_of_a_function_s_own_do_not(tmp_path: Path) -> None:
    pack = ".fastfn/packs/python/http/requirements.txt"
    write(tmp_path, pack, ".fastfn/packs/python/http/notes.txt", "python/demo/handler.py", f"python/demo/{pack}")
    assert paths(tmp_path) == [pack, "python/demo/handler.py"]
    assert paths(tmp_path / "python/demo") == ["python/demo/handler.py"]


def test_one_request_names_no_more_files_than_a_platform_takes() -> None:
    items = [Item(path=f"f{number}/handler.py", data=b"") for number in range(MAX_TREE_FILES + 3)]
    large = [Item(path=f"large/{number}.py", data=b"") for number in range(MAX_TREE_FILES + 1)]
    sent = shipment.changes([*items, *large], [f"old/{number}" for number in range(2 * MAX_TREE_FILES)])
    assert [item for group, _ in sent for item in group] == [*items, *large]
    assert len([path for _, gone in sent for path in gone]) == 2 * MAX_TREE_FILES
    assert max(len(group) + len(gone) for group, gone in sent) == MAX_TREE_FILES


def test_what_goes_goes_with_what_takes_its_place() -> None:
    new = Item(path="get.b.py", data=b"")
    assert shipment.changes([new], ["get.a.py"]) == [([new], ["get.a.py"])]
    assert shipment.changes([], ["get.a.py"]) == [([], ["get.a.py"])]
    assert shipment.changes([], []) == []

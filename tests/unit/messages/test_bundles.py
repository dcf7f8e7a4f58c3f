"""A digest names code: the same for the same, another for any other."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.messages.bundles import bundle_digest, version_digest
from libs.messages.catalog import Bundle, BundleFile, Limits, Permissions

FILES = st.lists(
    st.builds(BundleFile, path=st.text("ab/.ü", min_size=1, max_size=4), data=st.binary(max_size=8), executable=st.booleans()),
    max_size=4,
    unique_by=lambda file: file.path,
)
VERSION = {
    "bundle": "b" * 64,
    "runtime": "python",
    "entrypoint": "main.py",
    "handler": "handler",
    "handler_style": "native",
}


@settings(deadline=None)
@given(files=FILES, seed=st.randoms())
def test_digest_does_not_depend_on_the_order_of_files(files: list[BundleFile], seed: object) -> None:
    shuffled = sorted(files, key=lambda file: hash((file.path, id(seed))))
    assert bundle_digest(Bundle(files=tuple(files))) == bundle_digest(Bundle(files=tuple(shuffled)))


@settings(deadline=None)
@given(one=FILES, other=FILES)
def test_digest_is_the_same_only_for_the_same_files(one: list[BundleFile], other: list[BundleFile]) -> None:
    same = {(file.path, file.data, file.executable) for file in one} == {
        (file.path, file.data, file.executable) for file in other
    }
    assert (bundle_digest(Bundle(files=tuple(one))) == bundle_digest(Bundle(files=tuple(other)))) is same


def digest(*, env_sealed: bytes, **parts: str) -> str:
    return version_digest(
        bundle=parts["bundle"],
        runtime=parts["runtime"],
        entrypoint=parts["entrypoint"],
        handler=parts["handler"],
        handler_style=parts["handler_style"],
        env_sealed=env_sealed,
    )


@pytest.mark.parametrize("change", [{"path": "other.py"}, {"data": b"other"}, {"executable": True}])
def test_digest_changes_with_each_part_of_a_file(change: dict[str, object]) -> None:
    file = BundleFile(path="main.py", data=b"code")
    other = dataclasses.replace(file, **change)
    assert bundle_digest(Bundle(files=(file,))) != bundle_digest(Bundle(files=(other,)))


def test_digest_is_what_it_was() -> None:
    bundle = Bundle(files=(BundleFile(path="main.py", data=b"print(1)"), BundleFile(path="run.sh", data=b"x", executable=True)))
    assert bundle_digest(bundle) == "18ea0696380c9652568f1666580976b5b854751552029c33cf2ce470f2fb17f8"
    assert digest(**VERSION, env_sealed=b"sealed") == "d3efab261e6da6f5612d4605d70e20dd8bcecfb44bc6b73d01bae69f83ef9b60"


@pytest.mark.parametrize("part", [*VERSION, "env_sealed"])
def test_version_digest_changes_with_each_part(part: str) -> None:
    base = digest(**VERSION, env_sealed=b"")
    if part == "env_sealed":
        assert digest(**VERSION, env_sealed=b"x") != base
    else:
        assert digest(**(VERSION | {part: "other"}), env_sealed=b"") != base


@pytest.mark.parametrize(
    "change", [{"limits": Limits(memory_mb=256)}, {"permissions": Permissions(network=False)}, {"layer": "made"}]
)
def test_version_digest_changes_with_what_workers_may_and_hold(change: dict[str, Any]) -> None:
    usual: dict[str, Any] = {**VERSION, "env_sealed": b""}
    assert version_digest(**usual, **change) != version_digest(**usual)


def test_version_digest_keeps_neighbours_apart() -> None:
    one = digest(**(VERSION | {"entrypoint": "ab", "handler": "c"}), env_sealed=b"")
    other = digest(**(VERSION | {"entrypoint": "a", "handler": "bc"}), env_sealed=b"")
    assert one != other


def test_file_name_that_is_not_utf8_has_a_digest() -> None:
    name = b"\xff.py".decode("utf-8", "surrogateescape")
    assert len(bundle_digest(Bundle(files=(BundleFile(path=name, data=b""),)))) == 64

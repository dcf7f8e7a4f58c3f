"""Rust's tools: what is made once, what is said when it cannot be, and how a function is built without it."""

import logging
from pathlib import Path

import pytest

from services.executor.runtimes.rust import toolchain
from services.executor.runtimes.rust.manifest import declared

MAKES_OUTPUT = 'while [ "$1" != -o ]; do shift; done; echo program > "$2"'


def tools(folder: Path, *, rustc: str = MAKES_OUTPUT, cargo: str = "exit 1") -> toolchain.Toolchain:
    """Write a compiler and a cargo that do as told, and note each run."""
    (folder / "bin").mkdir(parents=True)
    for name, script in (("rustc", rustc), ("cargo", cargo)):
        path = folder / "bin" / name
        path.write_text(f"#!/bin/sh\necho {name} >> {folder}/runs\n{script}\n")
        path.chmod(0o755)
    return toolchain.Toolchain(sysroot=folder, version="1.95.0", host="rustc 1.95.0 (test)")


def test_the_launcher_is_made_once_for_each_compiler(tmp_path: Path) -> None:
    found = tools(tmp_path / "rust")
    first = toolchain.prepare(found, tmp_path / "cache")
    again = toolchain.prepare(found, tmp_path / "cache")
    assert first == again
    assert first.launcher.read_text() == "program\n"
    assert (tmp_path / "rust" / "runs").read_text().split().count("rustc") == 1
    other = toolchain.Toolchain(sysroot=found.sysroot, version="1.96.0", host="rustc 1.96.0 (test)")
    assert toolchain.prepare(other, tmp_path / "cache").launcher != first.launcher


def test_libraries_that_cannot_be_made_are_a_warning_that_is_not_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = tools(tmp_path / "rust", cargo="echo no network >&2; exit 101")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert toolchain.prepare(found, tmp_path / "cache").libraries is None
    assert caplog.text.count("no network") == 1
    assert (tmp_path / "rust" / "runs").read_text().split().count("cargo") == 1


def test_a_compiler_that_fails_is_told(tmp_path: Path) -> None:
    found = tools(tmp_path / "rust", rustc="echo it is broken >&2; exit 1")
    with pytest.raises(toolchain.ToolError, match="it is broken"):
        toolchain.prepare(found, tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(toolchain.ToolError, match="cannot be kept"):
        toolchain.prepare(tools(tmp_path / "rust"), tmp_path / "cache")


@pytest.mark.parametrize(
    ("said", "reason"), [("rustc 1.63.0 (4b91a6ea7 2022-08-08)", "1.63.0, too old"), ("hello", "no Rust compiler")]
)
def test_a_compiler_that_cannot_be_used_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, reason: str
) -> None:
    tools(tmp_path, rustc=f"echo '{said}'")
    (tmp_path / "bin" / "cc").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    with pytest.raises(toolchain.ToolError, match=reason):
        toolchain.find()


def test_the_nearest_manifest_counts_and_its_paths_are_seen_from_the_generated_crate(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "Cargo.toml").write_text('[package]\nname = "outer"\n[dependencies]\nregex = "1"\n')
    assert declared(tmp_path, "api/handler.rs").path == "Cargo.toml"
    (tmp_path / "api" / "Cargo.toml").write_text(
        '[package]\nname = "inner"\nedition = "2024"\n[features]\nbig = []\n'
        '[dependencies]\nown = { path = "../own" }\nserde = { version = "1", features = ["derive"] }\n'
    )
    found = declared(tmp_path, "api/handler.rs")
    assert (found.path, found.edition, found.needs_cargo) == ("api/Cargo.toml", "2024", True)
    crate = declared_again(tmp_path, found.crate("api/handler.rs"))
    assert crate["lib"]["path"] == "../api/handler.rs"
    assert crate["dependencies"]["own"] == {"path": "../api/../own"}
    assert crate["dependencies"]["serde"] == {"version": "1", "features": ["derive"]}
    assert crate["dependencies"]["serde_json"] == "1"
    assert crate["features"] == {"big": []}


def declared_again(folder: Path, text: str) -> dict[str, dict[str, object]]:
    """Return a generated manifest, read back."""
    again = folder / "again"
    again.mkdir()
    (again / "Cargo.toml").write_text(text)
    return declared(again, "handler.rs").tables

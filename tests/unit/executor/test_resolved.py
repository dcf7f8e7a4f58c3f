"""What was installed is told from what the tools leave behind, and nothing that they leave breaks it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from services.executor.builds import resolved


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"out/a-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: A.b\nVersion: 1.0\n\nName: no\n"}, ("A.b==1.0",)),
        (
            {
                "out/left/package.json": '{"name": "left", "version": "1.3.0"}',
                "out/@scope/pad/package.json": '{"name": "@scope/pad", "version": "2.0.0"}',
                "out/left/lib/package.json": '{"name": "inner", "version": "9"}',
            },
            ("@scope/pad==2.0.0", "left==1.3.0"),
        ),
        ({"out/composer/installed.json": '{"packages": [{"name": "psr/log", "version": "3.0.0"}]}'}, ("psr/log==3.0.0",)),
        (
            {
                "crate/Cargo.lock": (
                    '[[package]]\nname = "own"\nversion = "0.1.0"\n\n'
                    '[[package]]\nname = "itoa"\nversion = "1.0.15"\nsource = "registry+x"\n'
                )
            },
            ("itoa==1.0.15",),
        ),
        (
            {"deno.lock": '{"npm": {"is-odd@3.0.1": {}, "@a/b@1.0.0_c@2.0.0": {}}, "jsr": {"@std/x@1.0.0": {}}}'},
            ("jsr:@std/x==1.0.0", "npm:@a/b==1.0.0", "npm:is-odd==3.0.1"),
        ),
        ({"out/x.dist-info/METADATA": "", "out/y/package.json": "[", "Cargo.lock": "=", "deno.lock": "[]"}, ()),
        ({"out/y/package.json": '{"name": 5, "version": []}', "out/composer/installed.json": '{"packages": 5}'}, ()),
    ],
    ids=["pip", "npm", "composer", "cargo", "deno", "broken", "odd"],
)
def test_packages_are_told(files: Mapping[str, str], expected: tuple[str, ...], tmp_path: Path) -> None:
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert resolved.packages(tmp_path, tmp_path / "out") == expected

"""The functions that are measured: the same handler in each language, in a folder of its own."""

import json
from collections.abc import Mapping
from pathlib import Path

from services.executor.runtimes import installed

LANGUAGES: tuple[str, ...] = ("python", "node", "deno", "php", "rust")

HELLO: Mapping[str, tuple[str, str]] = {
    "python": ("handler.py", 'def handler(event):\n    return {"hello": "world"}\n'),
    "node": ("handler.js", 'exports.handler = () => ({ hello: "world" });\n'),
    "deno": ("handler.ts", 'export const handler = () => ({ hello: "world" });\n'),
    "php": ("handler.php", "<?php\nfunction handler($event) {\n    return ['hello' => 'world'];\n}\n"),
    "rust": (
        "handler.rs",
        "use serde_json::{json, Value};\n\npub fn handler(_event: Value) -> Value {\n"
        '    json!({"status": 200, "headers": {"content-type": "application/json"}, "body": "{\\"hello\\":\\"world\\"}"})\n}\n',
    ),
}
"""File name and source, by language."""

WAIT: Mapping[str, tuple[str, str]] = {
    "python": ("handler.py", "import time\n\n\ndef handler(event):\n    time.sleep(%(seconds)g)\n    return 'waited'\n"),
    "node": (
        "handler.js",
        "exports.handler = () => new Promise((done) => setTimeout(() => done('waited'), %(seconds)g * 1000));\n",
    ),
    "deno": (
        "handler.ts",
        "export const handler = () => new Promise((done) => setTimeout(() => done('waited'), %(seconds)g * 1000));\n",
    ),
    "php": (
        "handler.php",
        "<?php\nfunction handler($event) {\n    usleep((int) (%(seconds)g * 1e6));\n    return 'waited';\n}\n",
    ),
    "rust": (
        "handler.rs",
        "use serde_json::{json, Value};\n\npub fn handler(_event: Value) -> Value {\n"
        "    std::thread::sleep(std::time::Duration::from_secs_f64(%(seconds)g));\n"
        '    json!({"status": 200, "body": "waited"})\n}\n',
    ),
}

_CONFIG = json.dumps({"max_concurrency": 0, "timeout_ms": 10_000})


async def present() -> dict[str, str]:
    """Return for each language why it cannot be measured here; empty when it can."""
    reasons: dict[str, str] = dict.fromkeys(LANGUAGES, "its runtime is not installed")
    for runtime in installed.runtimes():
        if runtime.name in reasons:
            availability = await runtime.probe()
            reasons[runtime.name] = "" if availability.present else availability.hint
    return reasons


def write(functions: Path, language: str, name: str, source: tuple[str, str], *, mark: str = "") -> None:
    """Write a function; it is served at `/<name>`.

    Args:
        functions: the functions folder.
        language: its runtime.
        name: its own.
        source: file name and text.
        mark: a comment that makes its code one of its own; empty: functions with the same source share it.
    """
    folder = functions / language / name
    folder.mkdir(parents=True)
    file, text = source
    comment = "#" if language == "python" else "//"
    (folder / "fn.config.json").write_text(_CONFIG)
    (folder / file).write_text(f"{text}{comment} {mark}\n" if mark else text)

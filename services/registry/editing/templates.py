"""The handler that a new function begins with, in each language that comes with fnbus. Pure."""

import re
from collections.abc import Mapping

from libs import errors, runtime_names
from services.registry.source import entries

_PYTHON = """import json


def handler(event):
    query = event.get("query") or {}
    return {
        "status": 200,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps({"ok": True, "function": "%NAME%", "query": query}),
    }
"""
_NODE = """exports.handler = async (event) => ({
  status: 200,
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ ok: true, function: "%NAME%", query: event.query || {} }),
});
"""
_DENO = """// deno-lint-ignore no-explicit-any
export function handler(event: any) {
  return {
    status: 200,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ok: true, function: "%NAME%", query: event.query ?? {} }),
  };
}
"""
_PHP = """<?php

function handler(array $event): array
{
    return [
        'status' => 200,
        'headers' => ['Content-Type' => 'application/json'],
        'body' => json_encode(['ok' => true, 'function' => '%NAME%', 'query' => $event['query'] ?? []]),
    ];
}
"""
_RUST = """use serde_json::{json, Value};

pub fn handler(event: Value) -> Value {
    json!({
        "status": 200,
        "headers": {"Content-Type": "application/json"},
        "body": json!({"ok": true, "function": "%NAME%", "query": event["query"]}).to_string(),
    })
}
"""
_TEMPLATES: Mapping[str, tuple[str, str]] = {
    "python": ("handler.py", _PYTHON),
    "node": ("handler.js", _NODE),
    "deno": ("handler.ts", _DENO),
    "php": ("handler.php", _PHP),
    "rust": ("handler.rs", _RUST),
}
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def handler(runtime: str, name: str) -> tuple[str, bytes]:
    """Return the file name and the text of a new function's handler.

    Raises:
        errors.PermanentError: there is none for that runtime.
    """
    if runtime not in _TEMPLATES:
        raise errors.PermanentError("unsupported runtime for create" if runtime in runtime_names.known() else "unknown runtime")
    file, text = _TEMPLATES[runtime]
    return file, text.replace("%NAME%", name).encode()


def check_file_name(runtime: str, file: str) -> None:
    """Let pass what a handler of that runtime may be called.

    Raises:
        errors.PermanentError: it is another language's file, or no plain name of one.
    """
    if not _FILE_NAME.fullmatch(file) or entries.language(file, runtime) != runtime:
        raise errors.PermanentError("invalid filename for runtime")

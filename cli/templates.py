"""What `fnbus init` writes, in each language: a function that answers with the query's name and the path's parameters. Pure."""

import json
from collections.abc import Mapping

_PYTHON = '''"""GET /%NAME%?name=Ada. Save this file and call it again: the new code runs."""


def handler(event, **params):
    name = event["query"].get("name", "you")
    return {"message": f"Hello {name}, this is Python", "params": params}
'''
_REQUIREMENTS = """# What the function needs, as for pip; it is installed when the function is deployed.
"""
_NODE = """// GET /%NAME%?name=Ada. Save this file and call it again: the new code runs.

exports.handler = async (event, params) => {
  const name = event.query.name ?? "you";
  return { message: `Hello ${name}, this is Node`, params };
};
"""
_DENO = """// GET /%NAME%?name=Ada. Save this file and call it again: the new code runs.

type Event = { query: Record<string, string> };

export function handler(event: Event, params: Record<string, string>) {
  const name = event.query.name ?? "you";
  return { message: `Hello ${name}, this is Deno`, params };
}
"""
_PHP = """<?php
// GET /%NAME%?name=Ada. Save this file and call it again: the new code runs.

function handler(array $event, array $params): array
{
    $name = $event['query']['name'] ?? 'you';
    return ['message' => "Hello $name, this is PHP", 'params' => (object) $params];
}
"""
_RUST = """// GET /%NAME%?name=Ada. Save this file: it is compiled, and the next call runs the new code.

use serde_json::{json, Value};

pub fn handler(event: Value) -> Value {
    let name = event["query"]["name"].as_str().unwrap_or("you");
    json!({"message": format!("Hello {name}, this is Rust"), "params": event["params"]})
}
"""
_FILES: Mapping[str, Mapping[str, str]] = {
    "python": {"handler.py": _PYTHON, "requirements.txt": _REQUIREMENTS},
    "node": {"handler.js": _NODE},
    "deno": {"handler.ts": _DENO},
    "php": {"handler.php": _PHP},
    "rust": {"handler.rs": _RUST},
}

RUNTIMES = tuple(_FILES)
"""Languages that there is a template for."""


def files(runtime: str, name: str) -> dict[str, str]:
    """Return the files of a new function by their names, its config first.

    Args:
        runtime: one of `RUNTIMES`.
        name: the function's; its route is `/name`, and everything below.
    """
    config = {"runtime": runtime, "name": name, "invoke": {"methods": ["GET"], "summary": f"Says hello from {runtime}"}}
    found = {"fn.config.json": json.dumps(config, indent=2) + "\n"}
    return found | {file: text.replace("%NAME%", name) for file, text in _FILES[runtime].items()}

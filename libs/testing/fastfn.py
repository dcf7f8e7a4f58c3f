"""A folder of functions as FastFN's users have them, for tests that hold a whole platform to FastFN's contract."""

import json

_WHOLE = 'def handler(event):\n    return {"event": event}\n'
_WHOLE_JS = "exports.handler = (event) => ({ event });\n"
_ENV = json.dumps({"WORD": "w", "NUMBER": 7, "FLAG": True, "OWN_TOKEN": {"value": "t", "is_secret": True}})
_PATIENT = '{"timeout_ms": 20000}'
"""For functions whose first call must not depend on how fast the machine is."""
_ALL = '{"timeout_ms": 20000, "invoke": {"methods": ["GET", "POST", "PUT", "PATCH", "DELETE"]}}'

_RETURNS = """
VALUES = {
    "object": {"a": 1},
    "list": [1, "two"],
    "text": "plain",
    "html": "<!doctype html><p>x",
    "number": 7,
    "true": True,
    "nothing": None,
    "bytes": b"\\x00\\xff",
    "tuple": ({"a": 1}, 201, {"x-made": "yes"}),
    "envelope": {"status": 202, "headers": {"x-made": "yes"}, "body": "said"},
    "lambda": {"statusCode": 203, "isBase64Encoded": True, "body": "AP8="},
    "object-body": {"status": 200, "body": {"b": [1]}},
    "binary": {"status": 200, "headers": {"content-type": "image/png"}, "is_base64": True, "body_base64": "AP8="},
    "csv": {"headers": {"content-type": "text/csv"}, "body": [{"id": 1, "name": "a"}]},
    "redirect": {"status": 302, "headers": {"location": "/elsewhere"}},
    "cookies": {"headers": {"set-cookie": ["a=1", "fastfn_session=forged", "b=2"]}, "body": "x"},
    "active": {"status": "active"},
    "zero": {"status": 0},
}


def handler(event):
    what = event["query"]["what"]
    if what == "value-error":
        raise ValueError("no such thing")
    if what == "no-file":
        open("/nowhere/to/be/found")
    if what == "error":
        raise RuntimeError("boom")
    return VALUES[what]
"""

_RETURNS_JS = """
const values = {
  object: { a: 1 }, list: [1, 'two'], text: 'plain', html: '<!doctype html><p>x', number: 7, true: true, nothing: null,
  bytes: Buffer.from([0, 255]),
  envelope: { status: 202, headers: { 'x-made': 'yes' }, body: 'said' },
  lambda: { statusCode: 203, isBase64Encoded: true, body: 'AP8=' },
  'object-body': { status: 200, body: { b: [1] } },
  binary: { status: 200, headers: { 'content-type': 'image/png' }, is_base64: true, body_base64: 'AP8=' },
  csv: { headers: { 'content-type': 'text/csv' }, body: [{ id: 1, name: 'a' }] },
  redirect: { status: 302, headers: { location: '/elsewhere' } },
  cookies: { headers: { 'set-cookie': ['a=1', 'fastfn_session=forged', 'b=2'] }, body: 'x' },
  active: { status: 'active' }, zero: { status: 0 },
};
exports.handler = (event) => {
  const what = event.query.what;
  if (what === 'no-file') require('fs').readFileSync('/nowhere/to/be/found');
  if (what === 'error') throw new Error('boom');
  return values[what];
};
"""

_TYPED = """# @summary One order
def handler(event, id: int, *, price: float = 1.0):
    return {"id": id}
"""

FUNCTIONS: dict[str, str] = {
    "python/whole/handler.py": _WHOLE,
    "python/whole/fn.config.json": _ALL,
    "python/whole/fn.env.json": _ENV,
    "python/whole/v2/handler.py": _WHOLE,
    "python/first/handler.py": "def handler(event):\n    return 'first'\n",
    "node/whole-js/handler.js": _WHOLE_JS,
    "node/whole-js/fn.config.json": _ALL,
    "node/whole-js/fn.env.json": _ENV,
    "python/returns/handler.py": _RETURNS,
    "node/returns-js/handler.js": _RETURNS_JS,
    "python/fresh/handler.py": "def handler(event):\n    return 'fresh'\n",
    "python/debugged/handler.py": "import sys\n\n\ndef handler(event):\n    print('said')\n    return 'x'\n",
    "python/debugged/fn.config.json": (
        '{"timeout_ms": 20000, "response": {"include_debug_headers": true}, "worker_pool": {"max_workers": 3, "max_queue": 2}}'
    ),
    "python/hosted/handler.py": "def handler(event):\n    return 'hosted'\n",
    "python/hosted/fn.config.json": '{"timeout_ms": 20000, "invoke": {"allow_hosts": ["api.example.com", "*.example.org"]}}',
    "python/long-text/handler.py": "def handler(event):\n    return 'x' * int(event['query']['size'])\n",
    "python/twin/handler.py": "def handler(event):\n    return 'python'\n",
    "node/twin/handler.js": "exports.handler = () => 'node';\n",
    "users/[id].py": _WHOLE,
    "docs/[...slug].py": _WHOLE,
    "shop/[[...rest]].py": _WHOLE,
    "get.post.both-methods.py": _WHOLE,
    "python/acme/orders/handler.py": _WHOLE,
    "python/braced/handler.py": _WHOLE,
    "python/braced/fn.config.json": (
        '{"timeout_ms": 20000, "invoke": {"routes": ["/alice/demo", "/alice/demo/{id}", "/api/v1/*"]}}'
    ),
    "node/my-tool/My_Cool.Thing.js": "exports.handler = () => 'cool';\n",
    "typed/get.orders.[id].py": _TYPED,
    **{
        f"{folder}/fn.config.json": _PATIENT
        for folder in (
            "python/first",
            "python/returns",
            "node/returns-js",
            "python/fresh",
            "python/long-text",
            "python/twin",
            "node/twin",
            "users",
            "docs",
            "shop",
            "python/acme/orders",
            "node/my-tool",
            "typed",
        )
    },
}
"""Files of the folder by path."""

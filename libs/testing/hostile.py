"""A folder of functions that do what functions should not, for tests that attack a whole platform.

They are text because a file here may break rules that the project's own files keep. Many report to a `Beacon`.
"""

from pathlib import Path

_CONNECT = """
import socket


def connect(event):
    made = socket.create_connection(("127.0.0.1", int(event["query"]["port"])))
    made.sendall(event["id"].encode())
    return made
"""

_HELD = f"""{_CONNECT}

def handler(event):
    \"\"\"Answer when the test says so.\"\"\"
    with connect(event) as held:
        return held.recv(100).decode()
"""

_STUBBORN = f"""
import signal
{_CONNECT}

def handler(event):
    \"\"\"Never answer, and do not go when asked.\"\"\"
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    held = connect(event)
    while True:
        try:
            held.recv(100)
        except BaseException:
            pass
"""

_RAISES_ONCE = f"""{_CONNECT}

def handler(event):
    connect(event).close()
    raise RuntimeError("after it was done")
"""

_RAISES_ONCE_JS = """
const net = require('net');
exports.handler = (event) => new Promise((_, reject) => {
  const made = net.connect(Number(event.query.port), '127.0.0.1', () => {
    made.end(event.id, () => reject(new Error('after it was done')));
  });
});
"""

_HANGS_JS = """
const net = require('net');
exports.handler = (event) => event.query.port ? new Promise(() => {
  net.connect(Number(event.query.port), '127.0.0.1').write(event.id);
}) : 'warm';
"""

_BLOCKS = """
exports.handler = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
"""

_PIECES = """
def handler(event):
    return {"headers": {"content-type": "text/event-stream"}, "body": (f"data: {n}\\n\\n" for n in range(3))}
"""

_FORKS = f"""
import os
import subprocess
import time
{_CONNECT}

def handler(event):
    \"\"\"Answer, and leave children behind that hold everything they were given.\"\"\"
    held = connect(event)
    held.set_inheritable(True)
    if os.fork() == 0:
        os.setsid()
        time.sleep(60)
        os._exit(0)
    subprocess.Popen(["sleep", "60"], close_fds=False)
    return {{"left": "children"}}
"""

_EXITS = """
import os
import signal
import sys


def handler(event):
    how = event["query"].get("how")
    if how == "exit":
        sys.exit(3)
    if how == "_exit":
        os._exit(3)
    if how == "clean":
        os._exit(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "deep":
        return handler(event)
    if how == "interrupt":
        raise KeyboardInterrupt
    return {"how": how}
"""

_EXITS_JS = """
exports.handler = (event) => {
  const how = event.query.how;
  if (how === 'exit') process.exit(3);
  if (how === 'kill') process.kill(process.pid, 'SIGKILL');
  if (how === 'abort') process.abort();
  if (how === 'later') {
    return new Promise(() => { setTimeout(() => { throw new Error('later'); }, 1); });
  }
  if (how === 'unhandled') {
    Promise.reject(new Error('nobody listens'));
    return new Promise((resolve) => { setTimeout(() => resolve('went on'), 1500); });
  }
  if (how === 'throw') throw undefined;
  return { how };
};
"""

_GARBAGE = """
import os
import sys


def handler(event):
    junk = bytes(range(256)) * 64
    if event["query"].get("where") == "stdout":
        sys.stdout.buffer.write(junk)
        sys.stdout.flush()
        os.write(1, junk)
        os.write(2, junk)
    elif event["query"].get("where") == "descriptors":
        for name in os.listdir("/proc/self/fd"):
            try:
                os.write(int(name), junk)
            except OSError:
                pass
    elif event["query"].get("where") == "close":
        os.closerange(0, 65536)
    return {"where": event["query"].get("where")}
"""

_FLOODS = """
import sys


def handler(event):
    for _ in range(160):
        sys.stdout.write("x" * 65535 + "\\n")
        sys.stderr.write("y\\n")
    return {"printed": 160 * 65536}
"""

_NONSENSE = """
LOOP = []
LOOP.append(LOOP)


def handler(event):
    return {
        "status": {"status": "active"},
        "range": {"status": 99},
        "huge": {"status": 600},
        "object": object(),
        "loop": LOOP,
        "nan": {"value": float("nan")},
        "headers": {"status": 200, "headers": "none", "body": "x"},
        "newline": {"headers": {"x-one": "a\\r\\nx-two: b"}, "body": "x"},
        "name": {"headers": {"x one\\r\\nx-two": "a"}, "body": "x"},
        "nul": {"headers": {"x-one": "a\\0b"}, "body": "x"},
        "base64": {"is_base64": True, "body_base64": "%%%"},
        "framing": {"headers": {"content-length": "1", "transfer-encoding": "chunked"}, "body": "whole"},
        "cookies": {"headers": {"set-cookie": ["a=1; Path=/", "b=2"]}, "body": "x"},
        "unicode": {"headers": {"x-one": "caf\\u00e9 \\u2713"}, "body": "x"},
        "surrogate": "lone \\ud800",
        "forged": {"headers": {"x-request-id": "forged", "server-timing": "x;dur=1", "traceparent": "y"}, "body": "x"},
    }[event["query"]["what"]]
"""

_NONSENSE_JS = """
const loop = {};
loop.self = loop;
exports.handler = (event) => ({
  status: { status: 'active' },
  range: { status: 99 },
  loop,
  bigint: { value: 10n },
  newline: { headers: { 'x-one': 'a\\r\\nx-two: b' }, body: 'x' },
  symbol: Symbol('x'),
  cookies: { headers: { 'set-cookie': ['a=1; Path=/', 'b=2'] }, body: 'x' },
}[event.query.what]);
"""

_ECHO = """
import base64


def handler(event):
    raw = base64.b64decode(event["body_base64"]) if event.get("is_base64") else (event.get("body") or "").encode()
    return {"headers": {"content-type": "application/octet-stream", "x-length": str(len(raw))}, "body": raw}
"""

_ECHO_JS = """
exports.handler = (event) => {
  const raw = event.is_base64 ? Buffer.from(event.body_base64, 'base64') : Buffer.from(event.body || '');
  return { headers: { 'content-type': 'application/octet-stream', 'x-length': String(raw.length) }, body: raw };
};
"""

_REQUEST = """
def handler(event):
    keys = ("id", "method", "path", "raw_path", "query", "headers", "params", "body")
    return {"event": {key: event.get(key) for key in keys}}
"""

_LARGE = """
import hashlib


def handler(event):
    size = int(event["query"].get("size", "0"))
    data = hashlib.shake_256(b"fnbus").digest(size)
    return data if event["query"].get("binary") else data.hex()
"""

_STATUS = """
def handler(event):
    return {"status": int(event["query"]["status"]), "headers": {"retry-after": "1"}, "body": {"error": "as asked"}}
"""

_DEFAULTS = """
def handler(event):
    return event["context"]["timeout_ms"]
"""

FUNCTIONS: dict[str, str] = {
    "get.raises.py": 'def handler(event):\n    raise RuntimeError("boom \\u2713 " + "x" * 10)\n',
    "python/long-error/handler.py": 'def handler(event):\n    raise RuntimeError("x" * 1_000_000)\n',
    "get.raises-js.js": "exports.handler = async () => { throw new TypeError('boom'); };\n",
    "python/held/handler.py": _HELD,
    "python/held/fn.config.json": '{"timeout_ms": 60000}',
    "python/single/handler.py": _HELD,
    "python/single/fn.config.json": '{"timeout_ms": 60000, "max_concurrency": 1, "invoke": {"methods": ["GET", "POST"]}}',
    "python/queueing/handler.py": _HELD,
    "python/queueing/fn.config.json": (
        '{"timeout_ms": 60000, "worker_pool": {"max_workers": 1, "max_queue": 1, "overflow_status": 503}}'
    ),
    "python/raises-once/handler.py": _RAISES_ONCE,
    "python/raises-once/fn.config.json": '{"timeout_ms": 20000}',
    "node/raises-once-js/handler.js": _RAISES_ONCE_JS,
    "node/raises-once-js/fn.config.json": '{"timeout_ms": 20000}',
    "node/hangs-js/handler.js": _HANGS_JS,
    "node/blocks/handler.js": _BLOCKS,
    "node/blocks/fn.config.json": '{"timeout_ms": 60000}',
    "python/pieces/handler.py": _PIECES,
    "python/pieces/fn.config.json": '{"timeout_ms": 20000}',
    "python/stubborn/handler.py": _STUBBORN,
    "python/stubborn/fn.config.json": '{"timeout_ms": 1500}',
    "python/patient/handler.py": _STUBBORN,
    "python/patient/fn.config.json": '{"timeout_ms": 60000, "max_concurrency": 1}',
    "node/spins/handler.js": "exports.handler = () => { for (;;); };\n",
    "node/spins/fn.config.json": '{"timeout_ms": 1500}',
    "python/forks/handler.py": _FORKS,
    "python/forks/fn.config.json": '{"timeout_ms": 20000}',
    "python/exits/handler.py": _EXITS,
    "python/exits/fn.config.json": '{"timeout_ms": 20000}',
    "node/exits-js/handler.js": _EXITS_JS,
    "node/exits-js/fn.config.json": '{"timeout_ms": 20000}',
    "python/garbage/handler.py": _GARBAGE,
    "python/garbage/fn.config.json": '{"timeout_ms": 20000}',
    "python/floods/handler.py": _FLOODS,
    "python/floods/fn.config.json": '{"timeout_ms": 20000}',
    "python/nonsense/handler.py": _NONSENSE,
    "node/nonsense-js/handler.js": _NONSENSE_JS,
    "python/echo/handler.py": _ECHO,
    "python/echo/fn.config.json": '{"timeout_ms": 20000, "max_body_bytes": 3145728, "invoke": {"methods": ["POST", "PUT"]}}',
    "node/echo-js/handler.js": _ECHO_JS,
    "node/echo-js/fn.config.json": '{"timeout_ms": 20000, "max_body_bytes": 3145728, "invoke": {"methods": ["POST"]}}',
    "python/small/handler.py": _ECHO,
    "python/small/fn.config.json": '{"timeout_ms": 20000, "max_body_bytes": 1000, "invoke": {"methods": ["POST"]}}',
    "python/request/handler.py": _REQUEST,
    "python/request/fn.config.json": '{"timeout_ms": 20000}',
    "python/large/handler.py": _LARGE,
    "python/large/fn.config.json": '{"timeout_ms": 20000}',
    "python/status/handler.py": _STATUS,
    "items/[id].py": _REQUEST,
    "python/fine/handler.py": 'def handler(event):\n    return "fine"\n',
    "python/fine/fn.config.json": '{"timeout_ms": 20000}',
    # What cannot work
    "get.broken.py": "import os\n\ndef handler(event:\n    return 1\n",
    "get.broken-js.js": "const a = 1;\nexports.handler = () => { return {;\n",
    "get.imports.py": "import os\nimport nothing_of_this_name\n\ndef handler(event):\n    return 1\n",
    "get.no-handler.py": "value = 1\n",
    "get.dies-at-load.py": "import os\nos._exit(7)\n",
    "get.both.py": "def handler(event):\n    return 1\n",
    "get.both.js": "exports.handler = () => 1;\n",
    "python/not-json/handler.py": _DEFAULTS,
    "python/not-json/fn.config.json": '{"timeout_ms": 1000,',
    "python/wrong-type/handler.py": _DEFAULTS,
    "python/wrong-type/fn.config.json": '{"timeout_ms": "soon", "max_concurrency": -1, "invoke": {"methods": ["FETCH"]}}',
    "python/not-a-cron/handler.py": _DEFAULTS,
    "python/not-a-cron/fn.config.json": '{"schedule": {"enabled": true, "cron": "every day at noon or later or so"}}',
    "python/cron-range/handler.py": _DEFAULTS,
    "python/cron-range/fn.config.json": '{"schedule": {"enabled": true, "cron": "61 * * * *"}}',
    "python/no-zone/handler.py": _DEFAULTS,
    "python/no-zone/fn.config.json": '{"schedule": {"enabled": true, "cron": "* * * * *", "timezone": "Mars/Olympus"}}',
    "python/list-config/handler.py": _DEFAULTS,
    "python/list-config/fn.config.json": "[1, 2]",
    "python/deep-config/handler.py": _DEFAULTS,
    "python/deep-config/fn.config.json": "[" * 100_000,
}
"""Files of the folder by path."""


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write a folder of functions and return it."""
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder

"""Functions that attack, in each language: what to do is said by the query, so that one function makes all attacks.

They are bounded: where a defence fails, a test fails, and the machine that runs it goes on.
"""

import json

PYTHON = r"""
import json, os, socket, subprocess, sys, threading, time

kept = []

def handler(event):
    query = event["query"]
    try:
        return {"done": globals()[query["do"]](query)}
    except BaseException as error:
        if isinstance(error, MemoryError):
            raise
        return {"failed": f"{type(error).__name__}: {error}"}

def read(query):
    with open(query["path"], "rb") as file:
        return file.read(1_000_000).decode("latin-1")

def listing(query):
    return sorted(os.listdir(query["path"]))

def environ(query):
    return dict(os.environ)

def connect(query):
    with socket.create_connection((query["host"], int(query["port"])), timeout=2):
        return "connected"

def fetch(query):
    import urllib.request
    with urllib.request.urlopen(query["url"], timeout=10) as answer:
        return answer.read().decode()

def shell(query):
    done = subprocess.run(["/bin/sh", "-c", query["script"]], capture_output=True, timeout=15)
    return (done.stdout + done.stderr).decode("latin-1")[-20000:]

def kill(query):
    os.kill(int(query["pid"]), 9)
    return "killed"

def memory(query):
    for _ in range(int(query["mb"])):
        kept.append(bytearray(os.urandom(1024) * 1024))
    return "held"

def memory_children(query):
    for _ in range(8):
        if os.fork() == 0:
            mine = [bytearray(os.urandom(1024) * 1024) for _ in range(40)]
            time.sleep(8)
            os._exit(len(mine) and 0)
    time.sleep(8)
    return "held"

def memory_memfd(query):
    piece = os.urandom(1 << 20)
    for _ in range(40):
        fd = os.memfd_create("bomb")
        kept.append(fd)
        for _ in range(12):
            os.write(fd, piece)
    time.sleep(2)
    return "held"

def memory_shm(query):
    import mmap
    area = mmap.mmap(-1, 300 << 20)
    kept.append(area)
    for _ in range(300):
        area.write(os.urandom(1 << 20))
    return "held"

def disk(query):
    written = 0
    piece = os.urandom(1 << 20)
    for folder in ("/tmp", "/dev/shm", "/fn", "/var/tmp", "/run"):
        try:
            with open(f"{folder}/bomb", "wb") as file:
                for _ in range(120):
                    file.write(piece)
                    file.flush()
                    written += 1
        except OSError:
            pass
        try:
            os.unlink(f"{folder}/bomb")
        except OSError:
            pass
    return written

def forks(query):
    made = 0
    for _ in range(400):
        if os.fork() == 0:
            time.sleep(8)
            os._exit(0)
        made += 1
    return made

def sockets(query):
    for _ in range(10_000):
        kept.append(socket.socket())
    return len(kept)

def flood(query):
    line = b"x" * 65535 + b"\n"
    for _ in range(int(query["mb"]) * 16):
        os.write(1, line)
    return "written"

def headers(query):
    return {"status": 200, "headers": {f"x-{n}": "y" * 60_000 for n in range(200)}, "body": ""}

def spin(query):
    while True:
        pass

def background(query):
    def go_on():
        while True:
            pass
    threading.Thread(target=go_on, daemon=True).start()
    return os.getpid()

def child(query):
    return subprocess.Popen(["/bin/sleep", "120"], start_new_session=True).pid

def forge(query):
    import struct
    head = b'[["x-forged","yes"]]'
    for call in range(1, 4):
        frame = struct.pack(">IBBHIIII", 20 + len(head), 5, 0, 200, call, len(head), 0, 0) + head
        for fd in (int(query["fd"]),) if "fd" in query else range(1, 256):
            try:
                os.write(fd, frame)
            except OSError:
                pass
    return "forged"

def leave(query):
    kept.append(query["mark"])
    with open("/tmp/left", "w") as file:
        file.write(query["mark"])
    return "left"

def left(query):
    return [*kept, *(["file"] if os.path.exists("/tmp/left") else [])]

def calls(query):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    told = {}
    for name, *arguments in json.loads(query["calls"]):
        ctypes.set_errno(0)
        done = libc.syscall(*(ctypes.c_long(each) for each in arguments))
        told[name] = ctypes.get_errno() if done < 0 else 0
    return told
"""

_JAVASCRIPT = r"""
const kept = [];
const tell = (error) => `${error.name}: ${error.code ?? ""} ${error.message}`;

const attacks = {
  read: (query) => fs.readFileSync(query.path, "latin1").slice(0, 1_000_000),
  listing: (query) => fs.readdirSync(query.path).sort(),
  environ: () => ({ ...process.env }),
  connect: (query) => new Promise((done, failed) => {
    const made = net.connect({ host: query.host, port: Number(query.port), timeout: 2000 });
    made.on("connect", () => { made.destroy(); done("connected"); });
    made.on("error", failed);
    made.on("timeout", () => { made.destroy(); failed(new Error("timed out")); });
  }),
  fetch: async (query) => {
    const answer = await fetch(query.url);
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    return answer.text();
  },
  shell: (query) => child.execFileSync("/bin/sh", ["-c", query.script], { timeout: 15000 }).toString("latin1"),
  kill: (query) => { process.kill(Number(query.pid), "SIGKILL"); return "killed"; },
  memory: (query) => {
    for (let n = 0; n < Number(query.mb); n++) kept.push(new Uint8Array(1 << 20).fill(n % 250 + 1));
    return "held";
  },
  flood: (query) => {
    const line = "x".repeat(65535);
    for (let n = 0; n < Number(query.mb) * 16; n++) console.log(line);
    return "written";
  },
  spin: () => { for (;;); },
  background: () => {
    setInterval(() => { const end = Date.now() + 400; while (Date.now() < end); }, 410);
    return process.pid;
  },
  leave: (query) => { kept.push(query.mark); fs.writeFileSync("/tmp/left", query.mark); return "left"; },
  left: () => [...kept, ...(fs.existsSync("/tmp/left") ? ["file"] : [])],
};

const handler = async (event) => {
  try {
    return { done: await attacks[event.query.do](event.query) };
  } catch (error) {
    return { failed: tell(error) };
  }
};
"""

NODE = f"""
const fs = require("node:fs");
const net = require("node:net");
const child = require("node:child_process");
{_JAVASCRIPT}
exports.handler = handler;
"""

DENO = f"""
// @ts-nocheck
import fs from "node:fs";
import net from "node:net";
import child from "node:child_process";
import process from "node:process";
import {{ createRequire }} from "node:module";
import vm from "node:vm";
{_JAVASCRIPT}
const LIBC = "/lib/x86_64-linux-gnu/libc.so.6";
const INSIDE = "let told = 'none'; try {{ Deno.dlopen('libc.so.6', {{}}); told = 'open'; }} catch {{ }} postMessage(told);";
const ways = {{
  dlopen: () => Deno.dlopen("libc.so.6", {{}}),
  path: () => Deno.dlopen(LIBC, {{}}),
  granted: () => Deno.permissions.querySync({{ name: "ffi" }}).state === "granted" || fail(),
  request: async () => (await Deno.permissions.request({{ name: "ffi" }})).state === "granted" || fail(),
  realm: () => vm.runInNewContext("this.constructor.constructor('return Deno')().dlopen('libc.so.6', {{}})"),
  process: () => process.dlopen({{ exports: {{}} }}, LIBC),
  addon: () => {{ fs.writeFileSync("/tmp/x.node", ""); createRequire("file:///tmp/")("./x.node"); }},
  node: () => import("node:ffi"),
  operation: () => Deno[Deno.internal].core.ops.op_ffi_load({{ path: "libc.so.6", symbols: {{}} }}),
  pointer: () => Deno.UnsafePointer.create(4096n),
  callback: () => new Deno.UnsafeCallback({{ parameters: [], result: "void" }}, () => {{}}),
  memory: () => Deno.openSync("/proc/self/mem", {{ write: true }}),
  worker: () => new Promise((done, failed) => {{
    const made = new Worker(`data:text/javascript,${{encodeURIComponent(INSIDE)}}`, {{ type: "module" }});
    made.onmessage = (event) => {{ made.terminate(); event.data === "open" ? done() : failed(new Error(event.data)); }};
    made.onerror = (event) => {{ event.preventDefault(); failed(new Error(event.message)); }};
  }}),
}};
const fail = () => {{ throw new Error("no"); }};
attacks.native = async () => {{
  const open = [];
  for (const [name, way] of Object.entries(ways)) try {{ await way(); open.push(name); }} catch {{ }}
  return open;
}};
export {{ handler }};
"""

PHP = r"""<?php
function handler(array $event) {
    $query = $event['query'];
    set_error_handler(function ($number, $text) { throw new RuntimeException($text); });
    try {
        $done = ('attack_' . $query['do'])($query);
        return ['done' => $done];
    } catch (Throwable $error) {
        return ['failed' => get_class($error) . ': ' . $error->getMessage()];
    } finally {
        restore_error_handler();
    }
}
class Kept { public static array $all = []; }
function attack_read($query) {
    return mb_convert_encoding(file_get_contents($query['path'], false, null, 0, 1000000), 'UTF-8', 'ISO-8859-1');
}
function attack_listing($query) { return array_values(array_diff(scandir($query['path']), ['.', '..'])); }
function attack_environ($query) { return (object) getenv(); }
function attack_connect($query) {
    $made = fsockopen($query['host'], (int) $query['port'], $code, $text, 2);
    return $made ? 'connected' : throw new RuntimeException($text);
}
function attack_fetch($query) {
    $proxy = str_replace('http://', 'tcp://', (string) getenv('HTTP_PROXY'));
    $http = ['proxy' => $proxy, 'request_fulluri' => true, 'timeout' => 10];
    return file_get_contents($query['url'], false, stream_context_create(['http' => $http]));
}
function attack_calls($query) {
    $libc = FFI::cdef('long syscall(long number, ...); int *__errno_location(void);', 'libc.so.6');
    $told = [];
    foreach (json_decode($query['calls']) as [$name, $number]) {
        $done = $libc->syscall($number, 0, 0, 0, 0, 0);
        $told[$name] = $done < 0 ? $libc->__errno_location()[0] : 0;
    }
    return $told;
}
function attack_shell($query) { return (string) shell_exec($query['script'] . ' 2>&1'); }
function attack_memory($query) {
    ini_set('memory_limit', '-1');
    for ($n = 0; $n < (int) $query['mb']; $n++) { Kept::$all[] = str_repeat(chr($n % 250 + 1), 1 << 20); }
    return 'held';
}
function attack_flood($query) {
    $line = str_repeat('x', 65535) . "\n";
    for ($n = 0; $n < (int) $query['mb'] * 16; $n++) { fwrite(STDERR, $line); }
    return 'written';
}
function attack_spin($query) { while (true) { } }
function attack_leave($query) { Kept::$all[] = $query['mark']; file_put_contents('/tmp/left', $query['mark']); return 'left'; }
function attack_left($query) { return array_merge(Kept::$all, file_exists('/tmp/left') ? ['file'] : []); }
"""

RUST = r"""
use serde_json::{json, Value};
use std::io::Write;
use std::sync::Mutex;
use std::{collections::BTreeMap, env, fs, hint, net, path, process, thread, time::Duration};

static KEPT: Mutex<Vec<String>> = Mutex::new(Vec::new());
extern "C" { fn syscall(number: i64, ...) -> i64; }

type Told = Result<Value, Box<dyn std::error::Error + Send + Sync>>;

pub fn handler(event: Value) -> Value {
    let query = &event["query"];
    match attack(&|name| query[name].as_str().unwrap_or("").to_string()) {
        Ok(done) => json!({ "done": done }),
        Err(error) => json!({ "failed": format!("Error: {error}") }),
    }
}

fn attack(query: &dyn Fn(&str) -> String) -> Told {
    Ok(match query("do").as_str() {
        "read" => {
            let data = fs::read(query("path"))?;
            json!(data.iter().take(1_000_000).map(|&byte| byte as char).collect::<String>())
        }
        "listing" => {
            let mut names = Vec::new();
            for entry in fs::read_dir(query("path"))? { names.push(entry?.file_name().to_string_lossy().into_owned()); }
            names.sort();
            json!(names)
        }
        "environ" => json!(env::vars().collect::<BTreeMap<_, _>>()),
        "connect" => {
            let address = net::SocketAddr::new(query("host").parse()?, query("port").parse()?);
            net::TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
            json!("connected")
        }
        "shell" => {
            let done = process::Command::new("/bin/sh").args(["-c", &query("script")]).output()?;
            json!(String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr))
        }
        "memory" => {
            let mut held = Vec::new();
            for n in 0..query("mb").parse::<usize>()? { held.push(vec![n as u8 | 1; 1 << 20]); }
            json!(hint::black_box(held).len())
        }
        "flood" => {
            let line = "x".repeat(65535) + "\\n";
            for _ in 0..query("mb").parse::<usize>()? * 16 { std::io::stdout().write_all(line.as_bytes())?; }
            json!("written")
        }
        "spin" => loop { hint::spin_loop() },
        "background" => {
            thread::spawn(|| loop { hint::spin_loop() });
            json!(process::id())
        }
        "leave" => {
            KEPT.lock().unwrap().push(query("mark"));
            fs::write("/tmp/left", query("mark"))?;
            json!("left")
        }
        "left" => {
            let mut found = KEPT.lock().unwrap().clone();
            if path::Path::new("/tmp/left").exists() { found.push("file".into()); }
            json!(found)
        }
        "calls" => {
            let calls: Vec<(String, i64)> = serde_json::from_str(&query("calls"))?;
            let mut told = BTreeMap::new();
            for (name, number) in calls {
                let done = unsafe { syscall(number, 0i64, 0i64, 0i64, 0i64, 0i64) };
                told.insert(name, if done < 0 { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 });
            }
            json!(told)
        }
        other => return Err(format!("no attack {other}").into()),
    })
}
"""

SOURCES = {
    "python": ("handler.py", PYTHON),
    "node": ("handler.js", NODE),
    "deno": ("handler.ts", DENO),
    "php": ("handler.php", PHP),
    "rust": ("handler.rs", RUST),
}
"""By runtime: name and text of a function that attacks."""

CLOSED = {"network": False}
CONFIGS: dict[str, dict[str, object]] = {
    "closed": {"permissions": CLOSED},
    "open": {},
    "local": {"permissions": {"local": True}},
    "twin": {"permissions": CLOSED},
    "neighbour": {"permissions": CLOSED},
    "small": {"permissions": CLOSED, "memory_mb": 96, "processes": 40, "open_files": 256, "disk_mb": 16},
    "crowd": {"permissions": CLOSED, "processes": 40},
    "quick": {"permissions": CLOSED, "cpu_ms": 300},
    "still": {"permissions": {"network": False, "run": False}},
    "secret": {"permissions": CLOSED},
    "listed": {"permissions": {"network": ["127.0.0.1", "*.example.com"], "local": True}},
    "named": {"permissions": {"network": ["127.0.0.1", "localhost"]}},
}
"""By kind of function: what it may."""

SECRET = "the-other-functions-secret"


def functions(runtimes: tuple[str, ...]) -> dict[str, str]:
    """Return the files of a folder in which every runtime has an attacker of each kind."""
    files = {
        "get.neighbour.py": "def handler(event):\n    return 'fine'\n",
        "fn.config.json": "{}",
    }
    for runtime in runtimes:
        entry, source = SOURCES[runtime]
        for kind, config in CONFIGS.items():
            folder = f"{runtime}/{runtime}-{kind}"
            files[f"{folder}/{entry}"] = source
            files[f"{folder}/fn.config.json"] = json.dumps({"timeout_ms": 30_000, "max_concurrency": 2, **config})
        files[f"{runtime}/{runtime}-secret/fn.env.json"] = json.dumps({"OTHERS_SECRET": {"value": SECRET, "is_secret": True}})
    del files["fn.config.json"]
    return files

"""Handlers, by language, that take three words: what is noted in `begun` below the third, then the second is done.

`pause` goes on until there is a file `gate` below the third.
"""

from collections.abc import Mapping

SOURCES: Mapping[str, tuple[str, str]] = {
    "python": (
        "handler.py",
        """
import os, subprocess, time

def handler(event):
    number, what, folder = event["body"].split()
    with open(folder + "/begun", "a") as begun:
        begun.write(number + "\\n")
    if what == "print":
        print("print " + number)
    elif what == "raw":
        os.write(2, b"raw " + number.encode() + b"\\n")
    elif what == "child":
        subprocess.run(["sh", "-c", "echo child " + number], check=True)
    elif what == "flood":
        os.write(1, (number + "\\n").encode() * 40_000)
    elif what == "exit":
        os._exit(3)
    elif what == "pause":
        while not os.path.exists(folder + "/gate"):
            time.sleep(0.01)
    elif what == "sleep":
        time.sleep(1000)
    elif what == "fail":
        raise RuntimeError(number)
    elif what == "stream":
        return {"status": 200, "headers": {}, "stream": (str(piece) + "," for piece in range(30))}
    return number
""",
    ),
    "node": (
        "handler.js",
        """
const fs = require("node:fs");
const { spawnSync } = require("node:child_process");
const rest = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

exports.handler = ({ body }) => {
  const [number, what, folder] = body.split(" ");
  fs.appendFileSync(folder + "/begun", number + "\\n");
  if (what === "print") console.log("print " + number);
  else if (what === "raw") fs.writeSync(2, "raw " + number + "\\n");
  else if (what === "child") spawnSync("sh", ["-c", "echo child " + number], { stdio: "inherit" });
  else if (what === "flood") process.stdout.write((number + "\\n").repeat(40_000));
  else if (what === "exit") process.exit(3);
  else if (what === "pause") while (!fs.existsSync(folder + "/gate")) rest(10);
  else if (what === "sleep") rest(1_000_000);
  else if (what === "fail") throw new Error(number);
  else if (what === "later") return new Promise((done) => setTimeout(() => done(number), 5));
  else if (what === "stream") return { body: (function* () { for (let at = 0; at < 30; at += 1) yield at + ","; })() };
  return number;
};
""",
    ),
    "rust": (
        "handler.rs",
        """
use serde_json::{json, Value};
use std::io::Write;
use std::time::Duration;

pub fn handler(event: Value) -> Result<Value, Box<dyn std::error::Error>> {
    let words: Vec<&str> = event["body"].as_str().unwrap().split(' ').collect();
    let (number, what, folder) = (words[0], words[1], words[2]);
    writeln!(std::fs::OpenOptions::new().append(true).create(true).open(format!("{folder}/begun"))?, "{number}")?;
    match what {
        "print" => println!("print {number}"),
        "raw" => eprintln!("raw {number}"),
        "child" => drop(std::process::Command::new("sh").args(["-c", &format!("echo child {number}")]).status()?),
        "flood" => print!("{}", format!("{number}\\n").repeat(40_000)),
        "exit" => std::process::exit(3),
        "pause" => while !std::fs::exists(format!("{folder}/gate"))? { std::thread::sleep(Duration::from_millis(10)) },
        "sleep" => std::thread::sleep(Duration::from_secs(1000)),
        "fail" => return Err(number.into()),
        _ => {}
    }
    Ok(json!(number))
}
""",
    ),
}


def does(language: str, what: str) -> bool:
    """Return whether a language's handler knows that second word."""
    return f'"{what}"' in SOURCES[language][1]

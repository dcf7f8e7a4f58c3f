// The program of a Node worker: what Node does in its own way. The rest is in ../javascript.

import { Buffer } from "node:buffer";
import { openSync, readSync, writeSync } from "node:fs";
import { createRequire, stripTypeScriptTypes } from "node:module";
import process from "node:process";
import { pathToFileURL } from "node:url";

import { serve } from "../javascript/serving.mjs";

const require = createRequire(import.meta.url);
const descriptor = Number(process.argv.pop());
process.argv.length = 1;

/**
 * Returns `hasPrinted` (see ../javascript/serving.mjs), by the kernel's count of what all threads have written to whatever it was.
 * What a child prints is not in it; but that a child has ended is, since Node writes a note of that to itself.
 */
function watcher() {
  const LABEL_SIZE = 7; // of the second of the lines, "wchar: "
  const counts = openSync("/proc/self/io");
  const text = Buffer.alloc(64);
  let others = 0; // what was written beside the frames
  return (sent) => {
    let size = 0;
    try {
      readSync(counts, text, 0, text.length, 0);
    } catch {
      return true; // user code has closed it
    }
    for (let at = text.indexOf(10) + 1 + LABEL_SIZE; text[at] >= 48; at += 1) size = size * 10 + text[at] - 48;
    const before = others;
    others = size - sent;
    return others !== before;
  };
}

function watcherOrNull() {
  try {
    return watcher();
  } catch {
    return null; // a kernel that does not count
  }
}

/** Node prints what a pipe has no room for later, among the output of other calls, unless it is told to wait for the room. */
function printAtOnce(name) {
  const stream = Object.getOwnPropertyDescriptor(process, name);
  const get = () => {
    Object.defineProperty(process, name, stream);
    process[name]._handle?.setBlocking?.(true);
    return process[name];
  };
  Object.defineProperty(process, name, { ...stream, get });
}

printAtOnce("stdout");
printAtOnce("stderr");

/** Runs CommonJS, ES modules, and TypeScript that only needs its types stripped. */
async function run(path) {
  let exported;
  try {
    exported = createRequire(path)(path); // quicker than import(), and takes all module kinds but those that await at top level
  } catch (error) {
    if (error?.code !== "ERR_REQUIRE_ASYNC_MODULE") throw error;
    exported = await import(pathToFileURL(path).href);
  }
  return { exported, isModule: exported?.[Symbol.toStringTag] === "Module" || exported?.__esModule === true };
}

/**
 * Node tells where an ES module does not parse only when nobody catches the error, so another Node is let fail on it. It
 * fails before any code of the module runs.
 */
function placeOfSyntaxError(path) {
  const { spawnSync } = require("node:child_process"); // a millisecond of start that only errors need
  const options = { encoding: "utf8", stdio: ["ignore", "ignore", "pipe"], timeout: 5000, killSignal: "SIGKILL" };
  try {
    return spawnSync(process.execPath, [...process.execArgv, path], options).stderr;
  } catch {
    return null;
  }
}

/** Node loads these when they are touched first, which takes it longer than all else that it does for a first call. */
const warmUps = {
  typescript: () => stripTypeScriptTypes("let one: number = 1;"),
  fetch: () => new Response(new Request("http://localhost/", { method: "POST", body: "1" }).body),
};

serve({
  runtime: "node",
  version: process.versions.node,
  descriptor,
  writeNow: writeSync,
  hasPrinted: watcherOrNull(),
  prepare() {},
  settle() {},
  run,
  placeOfSyntaxError,
  warmUps,
});

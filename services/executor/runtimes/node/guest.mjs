// The program of a Node worker: what Node does in its own way. The rest is in ../javascript.

import { writeSync } from "node:fs";
import { createRequire, stripTypeScriptTypes } from "node:module";
import process from "node:process";
import { pathToFileURL } from "node:url";

import { serve } from "../javascript/serving.mjs";

const require = createRequire(import.meta.url);
const descriptor = Number(process.argv.pop());
process.argv.length = 1;

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
  prepare() {},
  settle() {},
  run,
  placeOfSyntaxError,
  warmUps,
});

// The program of a Deno worker: what Deno does in its own way. The rest is in ../javascript.

import process from "node:process";
import { pathToFileURL } from "node:url";

import { serve } from "../javascript/serving.mjs";

const KEPT = new Set(["PATH", "HOME", "LANG", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"]);
const SET_DESCRIPTOR_FLAGS = 2; // fcntl(2): F_SETFD
const CLOSE_ON_EXEC = 1;
const BUILT = ".deno-build/handler.js"; // services/executor/runtimes/deno/building.py

const descriptor = Number(Deno.args.at(-1));
Object.defineProperty(Deno, "args", { value: Object.freeze([]), configurable: true, enumerable: true });
process.argv.length = 1;
for (const name of Object.keys(Deno.env.toObject())) if (!KEPT.has(name)) Deno.env.delete(name);

let prepared = false;

/** Deno has no way to keep a descriptor from the programs that it starts, so the C library is asked; then nobody may any more. */
function prepare() {
  if (prepared) return;
  if (Deno.permissions.querySync({ name: "run" }).state === "granted") {
    const library = Deno.dlopen("libc.so.6", { fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" } });
    library.symbols.fcntl(descriptor, SET_DESCRIPTOR_FLAGS, CLOSE_ON_EXEC);
    library.close();
  }
  Deno.permissions.revokeSync({ name: "ffi" });
  prepared = true;
}

/** The first module takes Deno longer than those after it, and so does the first of TypeScript. */
function settle() {
  prepare();
  return import("data:application/typescript,export const one: number = 1;");
}

/** Runs what a build made of the entry file, with all that it imports, or the file itself. */
async function run(path, root) {
  const built = `${root}/${BUILT}`;
  const exported = await import(pathToFileURL(exists(built) ? built : path).href);
  return { exported: exported["module.exports"] ?? exported, isModule: true };
}

function exists(path) {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

const warmUps = {
  fetch: () => new Response(new Request("http://localhost/", { method: "POST", body: "1" }).body),
};

serve({
  runtime: "deno",
  version: Deno.version.deno,
  descriptor,
  writeNow: null,
  hasPrinted: null,
  prepare,
  settle,
  run,
  placeOfSyntaxError: () => null,
  warmUps,
});

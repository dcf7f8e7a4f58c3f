// What a caller and an owner are told when user code fails. Anything can be thrown, so nothing is assumed of it.

import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { NoHandler } from "./loading.mjs";

const require = createRequire(import.meta.url);
const GUEST = new URL(".", import.meta.url).href;

export function typeOf(error) {
  return (error instanceof Error && (error.name || error.constructor?.name)) || typeof error;
}

export function messageOf(error, root) {
  let text;
  try {
    text = error instanceof Error || typeof error?.message === "string" ? error.message || typeOf(error) : String(error);
  } catch {
    text = typeOf(error);
  }
  return relative(text, root).replace(/\nRequire stack:[^]*$/, "");
}

/** HTTP status of an error that a handler threw (contract 2.4). */
export function statusOf(error) {
  return error?.code === "ENOENT" ? 404 : 500;
}

/** The stack without the guest's and Node's own frames, with paths relative to `root`. */
export function stackOf(error, root) {
  let stack;
  try {
    stack = typeof error?.stack === "string" ? error.stack : `${typeOf(error)}: ${messageOf(error, root)}`;
  } catch {
    stack = typeOf(error);
  }
  const lines = stack.split("\n").filter((line) => !line.includes(GUEST) && !/^\s+at .*\(?node:internal\//.test(line));
  return relative(lines.join("\n"), root).slice(0, 16384);
}

/** `file:line: Type: ` of the line of user code that a load error came from; of `entry` alone when no line is known. */
export function placeOf(error, root, entry) {
  if (error instanceof NoHandler) return "";
  const place = placeIn(error?.stack, root) ?? (error instanceof SyntaxError ? placeOfSyntaxError(root, entry) : null);
  return `${place ?? entry}: ${typeOf(error)}: `;
}

function placeIn(stack, root) {
  if (typeof stack !== "string") return null;
  for (const line of stack.split("\n")) {
    const start = line.indexOf(`${root}/`);
    const found = start < 0 ? null : /^(.*?):(\d+)/.exec(line.slice(start + root.length + 1));
    if (found === null) continue;
    const file = line.includes("file://") ? fileURLToPath(`file:///${found[1]}`).slice(1) : found[1];
    return `${file}:${found[2]}`;
  }
  return null;
}

/**
 * Node tells where an ES module does not parse only when nobody catches the error, so another Node is let fail on it. It
 * fails before any code of the module runs.
 */
function placeOfSyntaxError(root, entry) {
  const { spawnSync } = require("node:child_process"); // a millisecond of start that only errors need
  const options = { encoding: "utf8", stdio: ["ignore", "ignore", "pipe"], timeout: 5000, killSignal: "SIGKILL" };
  try {
    return placeIn(spawnSync(process.execPath, [...process.execArgv, join(root, entry)], options).stderr, root);
  } catch {
    return null;
  }
}

function relative(text, root) {
  return root === "" ? text : text.replaceAll(`file://${root}/`, "").replaceAll(`${root}/`, "");
}

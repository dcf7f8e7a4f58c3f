// What a caller and an owner are told when user code fails. Anything can be thrown, so nothing is assumed of it.

import { fileURLToPath } from "node:url";

/** The code has no handler of the name it should have, or one in a style that nobody knows. */
export class NoHandler extends Error {}

const GUEST = new URL("..", import.meta.url).href;
const OF_THE_RUNTIME = /^\s+at .*\(?(?:node:internal\/|ext:)/;
const COLOUR = /\x1b\[[0-9;]*m/g;
const LONGEST_STACK = 16384;
const OF_THE_LANGUAGE = new Set(["Error", "EvalError", "RangeError", "ReferenceError", "SyntaxError", "TypeError", "URIError"]);

/** The class of an error. One that does not say its name has that of the class that it extends, and is known by its own. */
export function typeOf(error) {
  try {
    if (!(error instanceof Error)) return typeof error;
    const [said, own] = [error.name, error.constructor?.name];
    const found = typeof own === "string" && own !== "" && OF_THE_LANGUAGE.has(said) ? own : said || own;
    return typeof found === "string" && found !== "" ? found : "Error";
  } catch {
    return "Error";
  }
}

export function messageOf(error, root) {
  let text;
  try {
    text = error instanceof Error || typeof error?.message === "string" ? error.message || typeOf(error) : String(error);
  } catch {
    text = typeOf(error);
  }
  return relative(text.replace(COLOUR, ""), root).replace(/\nRequire stack:[^]*$/, "");
}

/** HTTP status of an error that a handler threw. */
export function statusOf(error) {
  try {
    return error?.code === "ENOENT" ? 404 : 500;
  } catch {
    return 500;
  }
}

/** The stack without the guest's and the runtime's own frames, with paths relative to `root`. */
export function stackOf(error, root) {
  const stack = stackText(error) ?? `${typeOf(error)}: ${messageOf(error, root)}`;
  const lines = stack.split("\n").filter((line) => !line.includes(GUEST) && !OF_THE_RUNTIME.test(line));
  return relative(lines.join("\n"), root).slice(0, LONGEST_STACK);
}

/**
 * `file:line: Type: ` of the line of user code that a load error came from; of `entry` alone when no line is known.
 * `placeOfSyntaxError(entry)` is asked for text that tells it when the error does not.
 */
export function placeOf(error, root, entry, placeOfSyntaxError) {
  if (error instanceof NoHandler) return "";
  let place = placeIn(stackText(error), root);
  if (place === null && error instanceof SyntaxError) place = placeIn(placeOfSyntaxError(entry), root);
  return `${place ?? entry}: ${typeOf(error)}: `;
}

function stackText(error) {
  try {
    return typeof error?.stack === "string" ? error.stack.replace(COLOUR, "") : null;
  } catch {
    return null;
  }
}

function placeIn(text, root) {
  if (typeof text !== "string") return null;
  for (const line of text.split("\n")) {
    const start = line.indexOf(`${root}/`);
    const found = start < 0 ? null : /^(.*?):(\d+)/.exec(line.slice(start + root.length + 1));
    if (found === null) continue;
    const file = line.includes("file://") ? fileURLToPath(`file:///${found[1]}`).slice(1) : found[1];
    return `${file}:${found[2]}`;
  }
  return null;
}

function relative(text, root) {
  return root === "" ? text : text.replaceAll(`file://${root}/`, "").replaceAll(`${root}/`, "");
}

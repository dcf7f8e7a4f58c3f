// What a caller and an owner are told when user code fails. Anything can be thrown, so nothing is assumed of it.

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
  return relative(text, root);
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

/** `file:line: Type: ` of the line of user code that an error came from, or "" when none is known. */
export function placeOf(error, root) {
  const stack = typeof error?.stack === "string" ? error.stack : "";
  const start = stack.indexOf(`${root}/`);
  if (start < 0) return "";
  const found = /^([^\n]*?):(\d+)/.exec(stack.slice(start + root.length + 1));
  return found === null ? "" : `${decodeURI(found[1])}:${found[2]}: ${typeOf(error)}: `;
}

function relative(text, root) {
  return root === "" ? text : text.replaceAll(`file://${root}/`, "").replaceAll(`${root}/`, "");
}

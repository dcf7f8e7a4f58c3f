// The headers of an answer: what may go on the wire, and what is not a handler's to say.

/** What the handler returned describes no possible answer. */
export class InvalidResponse extends Error {}

/** Headers of the connection, which belongs to the gateway; they are dropped. */
const NOT_ITS_OWN = new Set([
  "connection",
  "content-length",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "trailers",
  "transfer-encoding",
  "upgrade",
]);
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/;
const LATIN1 = /^[\0-\xff]*$/;

/**
 * [name, value] pairs with lower-case names, and the content type among them or "". Takes an object, a Headers or Map, or
 * pairs; an array as value gives several headers, null none. Throws InvalidResponse that names the header.
 */
export function headerList(headers) {
  const pairs = [];
  let contentType = "";
  if (headers === null || headers === undefined) return [pairs, contentType];
  for (const [key, value] of entriesOf(headers)) {
    const name = String(key).toLowerCase();
    if (!NAME.test(name)) throw new InvalidResponse(`not a header name: ${JSON.stringify(name.slice(0, 80))}`);
    if (NOT_ITS_OWN.has(name)) continue;
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each === null || each === undefined) continue;
      const text = textOf(name, each);
      if (name === "content-type") {
        if (contentType !== "") continue;
        contentType = text;
      }
      pairs.push([name, text]);
    }
  }
  return [pairs, contentType];
}

function entriesOf(headers) {
  if (typeof headers !== "object") throw new InvalidResponse(`headers must be an object, not ${typeof headers}`);
  const entries = typeof headers[Symbol.iterator] === "function" ? [...headers] : Object.entries(headers);
  if (!entries.every((entry) => Array.isArray(entry) && entry.length === 2)) {
    throw new InvalidResponse("headers must be an object or a list of [name, value]");
  }
  return entries;
}

function textOf(name, value) {
  if (typeof value === "object" || typeof value === "function" || typeof value === "symbol") {
    throw new InvalidResponse(`header ${name}: a ${typeof value} is not a header value`);
  }
  const text = String(value);
  if (CONTROL.test(text)) throw new InvalidResponse(`header ${name}: control characters are not allowed`);
  if (!LATIN1.test(text)) throw new InvalidResponse(`header ${name}: only latin-1 characters are allowed`);
  return text.trim();
}

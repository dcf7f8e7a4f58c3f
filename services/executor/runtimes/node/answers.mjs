// From what a handler returns to status, header list and body (FastFN contract 2.4).

import { csvOf } from "./csv.mjs";
import { InvalidResponse, headerList } from "./headers.mjs";

export { InvalidResponse };

/** An object with one of these keys describes an answer; any other is the answer. */
const ENVELOPE = ["status", "statusCode", "headers", "body", "body_base64", "is_base64", "isBase64Encoded", "proxy"];

const EMPTY = Buffer.alloc(0);
const NAMELESS = Buffer.from("[]");
const JSON_HEAD = Buffer.from('[["content-type","application/json"]]');
const JSON_TYPE = "application/json";
const TEXT_TYPE = "text/plain; charset=utf-8";
const HTML_TYPE = "text/html; charset=utf-8";
const BINARY_TYPE = "application/octet-stream";
const BINARY = /^(?:image\/(?!svg\+xml)|audio\/|video\/|font\/|application\/(?:octet-stream|pdf|zip|gzip|wasm)\s*(?:;|$))/i;
const HTML = /^\s*<(?:!doctype html|html|head|body|!--)|^\s*<[a-z][^]*>\s*$/i;
const BODYLESS = new Set([204, 304]);

/** What goes out for a returned value: {status, head, body}, or a promise of it. Throws InvalidResponse or TypeError. */
export function answerOf(value) {
  if (value === null || value === undefined) return { status: 200, head: NAMELESS, body: EMPTY };
  if (typeof value === "object" && !Array.isArray(value) && !isBytes(value)) {
    if (isResponse(value)) return fromResponse(value);
    if (ENVELOPE.some((key) => Object.hasOwn(value, key))) return fromEnvelope(value);
    return { status: 200, head: JSON_HEAD, body: jsonOf(value) };
  }
  return finish(200, [], "", value);
}

function fromEnvelope(value) {
  if (Object.hasOwn(value, "proxy")) throw new InvalidResponse("edge proxy disabled for this function");
  const status = statusIn(value.status !== undefined ? value.status : value.statusCode === undefined ? 200 : value.statusCode);
  const [pairs, contentType] = headerList(value.headers);
  const encoded = value.body_base64;
  const missing = value.body === null || value.body === undefined;
  if (value.is_base64 || value.isBase64Encoded || (missing && typeof encoded === "string")) {
    return finish(status, pairs, contentType, decoded(encoded ?? value.body ?? ""));
  }
  return finish(status, pairs, contentType, value.body);
}

/** By its shape: the global Response costs milliseconds to touch, and a function may bring one of its own. */
function isResponse(value) {
  return typeof value.arrayBuffer === "function" && typeof value.headers?.entries === "function" && "status" in value;
}

async function fromResponse(response) {
  const headers = [...response.headers.entries()].filter(([name]) => name !== "set-cookie");
  for (const cookie of response.headers.getSetCookie?.() ?? []) headers.push(["set-cookie", cookie]);
  const [pairs, contentType] = headerList(headers);
  return finish(statusIn(response.status), pairs, contentType, Buffer.from(await response.arrayBuffer()));
}

function statusIn(value) {
  if (Number.isInteger(value) && value >= 200 && value <= 599) return value;
  throw new InvalidResponse(`status must be an integer from 200 to 599, not ${shown(value)}`);
}

function shown(value) {
  return (typeof value === "object" || typeof value === "string" ? JSON.stringify(value) : String(value)).slice(0, 60);
}

function decoded(text) {
  if (isBytes(text)) return bytesOf(text);
  if (typeof text !== "string") throw new InvalidResponse(`a base64 body must be text, not ${typeof text}`);
  const packed = text.replace(/\s+/g, "");
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(packed) || packed.length % 4 !== 0) throw new InvalidResponse("the body is not base64");
  return Buffer.from(packed, "base64");
}

function finish(status, pairs, contentType, value) {
  let [body, naturalType] = written(value, contentType);
  if (BODYLESS.has(status)) body = EMPTY;
  else if (body.length > 0 && contentType === "") pairs.push(["content-type", naturalType]);
  return { status, head: pairs.length > 0 ? Buffer.from(JSON.stringify(pairs)) : NAMELESS, body };
}

/** A body as bytes, and the content type that it has when the handler named none. */
function written(value, contentType) {
  if (value === null || value === undefined) return [EMPTY, ""];
  switch (typeof value) {
    case "string":
      if (contentType !== "" && BINARY.test(contentType)) return [bytesInText(value), contentType];
      return [Buffer.from(value), HTML.test(value) ? HTML_TYPE : TEXT_TYPE];
    case "number":
    case "bigint":
    case "boolean":
      return [Buffer.from(String(value)), TEXT_TYPE];
    case "object":
      if (isBytes(value)) return [bytesOf(value), BINARY_TYPE];
      if (Array.isArray(value) && contentType.startsWith("text/csv")) return [csvOf(value), contentType];
  }
  return [jsonOf(value), JSON_TYPE];
}

function isBytes(value) {
  return ArrayBuffer.isView(value) || value instanceof ArrayBuffer;
}

function bytesOf(value) {
  if (Buffer.isBuffer(value)) return value;
  return value instanceof ArrayBuffer ? Buffer.from(value) : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

/** The bytes that a text of one character per byte stands for (Node's `binary` strings); else its UTF-8. */
function bytesInText(text) {
  return /^[\0-\xff]*$/.test(text) ? Buffer.from(text, "latin1") : Buffer.from(text);
}

function jsonOf(value) {
  const text = JSON.stringify(value);
  if (text === undefined) throw new TypeError(`a ${typeof value} has no JSON form`);
  return Buffer.from(text);
}

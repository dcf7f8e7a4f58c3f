// From what a handler returns to status, header list and body, whole or in pieces.

import { Buffer } from "node:buffer";

import { csvOf } from "./csv.mjs";
import { InvalidResponse, headerList } from "./headers.mjs";
import { Pieces, bytesOf, isBytes, isPieces } from "./pieces.mjs";

export { InvalidResponse };

/** An object with one of these keys describes an answer; any other is the answer. */
const ENVELOPE = ["status", "statusCode", "headers", "body", "body_base64", "is_base64", "isBase64Encoded", "proxy"];

// Bound now, so that user code that replaces them breaks only what it does itself.
const { stringify } = JSON;
const { hasOwn } = Object;
const { from } = Buffer;

const EMPTY = Buffer.alloc(0);
const NAMELESS = from("[]");
const JSON_HEAD = from('[["content-type","application/json"]]');
/** Says that the body describes what the gateway is to fetch. */
const PROXY_HEAD = from('{"proxy":true}');
const JSON_TYPE = "application/json";
const TEXT_TYPE = "text/plain; charset=utf-8";
const HTML_TYPE = "text/html; charset=utf-8";
const BINARY_TYPE = "application/octet-stream";
const BINARY = /^(?:image\/(?!svg\+xml)|audio\/|video\/|font\/|application\/(?:octet-stream|pdf|zip|gzip|wasm)\s*(?:;|$))/i;
const HTML = /^\s*<(?:!doctype html|html|head|body|!--)|^\s*<[a-z][^]*>\s*$/i;
const BODYLESS = new Set([204, 205, 304]);


/**
 * What goes out for a returned value: {status, head, body}, or {status, pairs, contentType, pieces, whole} when it comes in
 * pieces; `whole` says that it is one answer if all of it is there at once. Throws InvalidResponse or TypeError.
 */
export function answerOf(value) {
  if (value === null || value === undefined) return { status: 200, head: NAMELESS, body: EMPTY };
  if (typeof value === "object" && !Array.isArray(value) && !isBytes(value)) {
    if (isResponse(value)) return fromResponse(value);
    if (isPieces(value)) return finish(200, [], "", value);
    for (const key of ENVELOPE) if (hasOwn(value, key)) return fromEnvelope(value);
    return { status: 200, head: JSON_HEAD, body: jsonOf(value) };
  }
  return finish(200, [], "", value);
}

/** The head of an answer: its header list, and the content type that its body has by nature when the handler named none. */
export function headOf(pairs, contentType, naturalType) {
  if (contentType === "" && naturalType !== "") pairs[pairs.length] = ["content-type", naturalType];
  return pairs.length > 0 ? from(stringify(pairs)) : NAMELESS;
}

/** The content type of a body whose first piece is known. */
export function typeOfPiece(piece) {
  return typeof piece === "string" ? TEXT_TYPE : BINARY_TYPE;
}

function fromEnvelope(value) {
  if (value.proxy !== null && value.proxy !== undefined) return { status: 200, head: PROXY_HEAD, body: directive(value.proxy) };
  const status = statusIn(value.status !== undefined ? value.status : value.statusCode === undefined ? 200 : value.statusCode);
  const [pairs, contentType] = headerList(value.headers);
  const encoded = value.body_base64;
  const missing = value.body === null || value.body === undefined;
  if (value.is_base64 || value.isBase64Encoded || (missing && typeof encoded === "string")) {
    return finish(status, pairs, contentType, decoded(encoded ?? value.body ?? ""));
  }
  return finish(status, pairs, contentType, value.body);
}

/** What the gateway is to fetch, as JSON; bytes in it travel as base64. */
function directive(wanted) {
  if (typeof wanted !== "object" || Array.isArray(wanted)) throw new InvalidResponse(`proxy must be an object, not ${shown(wanted)}`);
  if (!isBytes(wanted.body)) return jsonOf(wanted);
  return jsonOf({ ...wanted, body: null, is_base64: true, body_base64: bytesOf(wanted.body).toString("base64") });
}

/** By its shape: the global Response costs milliseconds to touch, and a function may bring one of its own. */
function isResponse(value) {
  return typeof value.arrayBuffer === "function" && typeof value.headers?.entries === "function" && "status" in value;
}

function fromResponse(response) {
  const status = statusIn(response.status);
  const headers = [...response.headers.entries()].filter(([name]) => name !== "set-cookie");
  for (const cookie of response.headers.getSetCookie?.() ?? []) headers.push(["set-cookie", cookie]);
  const [pairs, contentType] = headerList(headers);
  if (response.bodyUsed) throw new InvalidResponse("the body of the response was read already");
  const body = response.body === undefined ? oneLater(() => response.arrayBuffer()) : response.body;
  return { ...finish(status, pairs, contentType, body), whole: true };
}

/** For a Response class of the function's own that has no stream. */
async function* oneLater(read) {
  yield new Uint8Array(await read());
}

function statusIn(value) {
  if (Number.isInteger(value) && value >= 200 && value <= 599) return value;
  throw new InvalidResponse(`status must be an integer from 200 to 599, not ${shown(value)}`);
}

function shown(value) {
  return (typeof value === "object" || typeof value === "string" ? stringify(value) : String(value)).slice(0, 60);
}

function decoded(text) {
  if (isBytes(text)) return bytesOf(text);
  if (typeof text !== "string") throw new InvalidResponse(`a base64 body must be text, not ${typeof text}`);
  const packed = text.replace(/\s+/g, "");
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(packed) || packed.length % 4 !== 0) throw new InvalidResponse("the body is not base64");
  return from(packed, "base64");
}

function finish(status, pairs, contentType, value) {
  if (isPieces(value)) {
    const pieces = new Pieces(value);
    if (!BODYLESS.has(status)) return { status, pairs, contentType, pieces, whole: false };
    pieces.cancel();
    value = null;
  }
  let [body, naturalType] = written(value, contentType);
  if (BODYLESS.has(status)) body = EMPTY;
  return { status, head: headOf(pairs, contentType, body.length > 0 ? naturalType : ""), body };
}

/** A body as bytes, and the content type that it has when the handler named none. */
function written(value, contentType) {
  if (value === null || value === undefined) return [EMPTY, ""];
  switch (typeof value) {
    case "string":
      if (contentType !== "" && BINARY.test(contentType)) return [bytesInText(value), contentType];
      return [from(value), HTML.test(value) ? HTML_TYPE : TEXT_TYPE];
    case "number":
    case "bigint":
    case "boolean":
      return [from(String(value)), TEXT_TYPE];
    case "object":
      if (isBytes(value)) return [bytesOf(value), BINARY_TYPE];
      if (Array.isArray(value) && contentType.startsWith("text/csv")) return [csvOf(value), contentType];
  }
  return [jsonOf(value), JSON_TYPE];
}

/** The bytes that a text of one character per byte stands for (Node's `binary` strings); else its UTF-8. */
function bytesInText(text) {
  return /^[\0-\xff]*$/.test(text) ? from(text, "latin1") : from(text);
}

function jsonOf(value) {
  const text = stringify(value);
  if (text === undefined) throw new TypeError(`a ${typeof value} has no JSON form`);
  return from(text);
}

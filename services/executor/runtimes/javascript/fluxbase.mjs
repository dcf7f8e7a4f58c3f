// The style of Fluxbase: a request that is a plain record and a web Request in one, and globals for secrets and utilities.

import { Buffer } from "node:buffer";

import { joined } from "./events.mjs";
import { urlOf } from "./fetching.mjs";

const EMPTY = Buffer.alloc(0);
const JSON_HEADERS = { "content-type": "application/json" };

export function fluxbaseStyle(handler, version) {
  return (request) => {
    const utilities = utilitiesOf(request);
    defineGlobals(request.env, utilities);
    const value = handler(requestOf(request, version), null, null, utilities);
    return typeof value?.then === "function" ? value.then(answered) : answered(value);
  };
}

function requestOf({ head, body }, version) {
  const bytes = body ?? EMPTY;
  const text = bytes.toString("utf8");
  const user = head.user ?? head.context?.user ?? null;
  const request = {
    method: head.method,
    url: urlOf(head),
    headers: headersOf(head.headers),
    body: text,
    params: head.params,
    user_id: user?.id,
    user_email: user?.email,
    user_role: user?.role,
  };
  const rest = { id: head.id, name: version.name, session_id: user?.session_id };
  return hidden(request, {
    user,
    legacy: { ...request, ...rest },
    text: async () => text,
    json: async () => JSON.parse(text),
    arrayBuffer: async () => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
    bytes: async () => new Uint8Array(bytes),
  });
}

/** A plain record that also has the methods of a web Headers. */
function headersOf(headers) {
  const record = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, joined(value, ", ")]));
  const entries = () => Object.entries(record)[Symbol.iterator]();
  return hidden(record, {
    get: (name) => record[String(name).toLowerCase()] ?? null,
    has: (name) => Object.hasOwn(record, String(name).toLowerCase()),
    forEach: (each) => Object.entries(record).forEach(([name, value]) => each(value, name)),
    keys: () => Object.keys(record)[Symbol.iterator](),
    values: () => Object.values(record)[Symbol.iterator](),
    entries,
    [Symbol.iterator]: entries,
  });
}

function hidden(target, members) {
  for (const key of Reflect.ownKeys(members)) {
    // A header or field that the caller sent under the same name stays: it is data, and comes first.
    if (!Object.hasOwn(target, key)) Object.defineProperty(target, key, { value: members[key], configurable: true, writable: true });
  }
  return target;
}

function utilitiesOf({ head, body }) {
  return {
    reportProgress: async () => {},
    checkCancellation: () => false,
    isCancelled: () => false,
    getExecutionContext: () => ({ ...head.context, execution_id: head.id }),
    getPayload: () => (body === null ? null : JSON.parse(body.toString("utf8"))),
  };
}

function defineGlobals(env, utilities) {
  const get = (name) => env[name];
  const getRequired = (name) => {
    if (env[name] === undefined) throw new Error(`secret ${name} is not set`);
    return env[name];
  };
  const define = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  define("secrets", { get, getRequired, getUser: get, getSystem: get });
  define("Fluxbase", { ...utilities, tenant: null });
  if (globalThis.Deno === undefined) {
    define("Deno", { env: { get, has: (name) => env[name] !== undefined, toObject: () => ({ ...env }) } });
  }
}

/** Only a status that is one makes a record an answer; all else is a value, and goes out as JSON. */
function answered(value) {
  if (value === undefined) return { status: 200, headers: JSON_HEADERS };
  if (typeof value?.arrayBuffer === "function" || typeof value?.getReader === "function") return value;
  if (Number.isInteger(value?.status)) return value.headers ? value : { ...value, headers: JSON_HEADERS };
  return { status: 200, headers: JSON_HEADERS, body: JSON.stringify(value) };
}

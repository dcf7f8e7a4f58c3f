// The styles that take a web Request and give a Response: a plain function, or a Cloudflare worker's `fetch`.

import { joined } from "./events.mjs";
import { Intake } from "./intake.mjs";

const BODILESS = new Set(["GET", "HEAD"]);

/** `handler(request, ctx)`. */
export function fetchStyle(handler, version) {
  return (request) => handler(requestOf(request), contextOf(request, version));
}

/** `handler(request, env, ctx)`. */
export function workerStyle(handler) {
  return (request) => handler(requestOf(request), { ...request.env }, waitingContext(request.call));
}

/** The URL that the caller asked for. */
export function urlOf({ headers, raw_path: path }) {
  const scheme = first(headers["x-forwarded-proto"] ?? "http");
  const host = first(headers.host ?? "localhost");
  return `${scheme === "https" ? "https" : "http"}://${host}${path}`;
}

export function requestOf({ head, body }) {
  const headers = [];
  for (const [name, value] of Object.entries(head.headers)) {
    for (const each of Array.isArray(value) ? value : [value]) headers.push([name, each]);
  }
  const init = { method: head.method, headers };
  if (body !== null && !BODILESS.has(head.method)) {
    init.body = body instanceof Intake ? body.stream() : body;
    init.duplex = "half"; // how the web's own Request wants to be told of a body that is a stream
  }
  return new Request(urlOf(head), init);
}

function contextOf({ head, env, call }, version) {
  return {
    ...waitingContext(call),
    env: { ...env },
    request: { id: head.id, ip: head.client?.ip ?? null, country: null, functionName: version.name },
    params: head.params,
    user: head.user ?? null,
    caller: { type: "anonymous" },
    app: null,
    db: null,
    integrations: null,
    substrate: null,
  };
}

function waitingContext(call) {
  return { waitUntil: (promise) => call.waitUntil(promise), passThroughOnException() {} };
}

function first(value) {
  return joined(value, ",").split(",")[0].trim();
}

// From the head and body of a request to the event that a handler sees (FastFN contract 2.3).

import { isUtf8 } from "node:buffer";

/** A new event. `body` is null in it when empty; one that is not UTF-8 is base64 beside it. The event has its own `env`. */
export function eventOf(head, body, env) {
  const event = JSON.parse(head);
  const context = event.context;
  context.request_id = event.id;
  for (const name of ["traceparent", "user", "trigger"]) {
    if (event[name]) context[name] = event[name];
    delete event[name];
  }
  event.path_params = event.params;
  event.env = { ...env };
  event.secrets = {};
  event.body = null;
  if (body !== null) {
    if (isUtf8(body)) {
      event.body = body.utf8Slice();
    } else {
      event.body_base64 = body.base64Slice();
      event.is_base64 = true;
    }
  }
  const cookie = event.headers.cookie;
  if (cookie !== undefined) event.session = sessionOf(Array.isArray(cookie) ? cookie.join("; ") : cookie);
  return event;
}

function sessionOf(raw) {
  const cookies = {};
  for (const pair of raw.split(";")) {
    const [, name, value] = /^\s*([^=]+?)\s*=\s*"?(.*?)"?\s*$/s.exec(pair) ?? [];
    if (name && !Object.hasOwn(cookies, name)) Object.defineProperty(cookies, name, { value, enumerable: true, writable: true, configurable: true });
  }
  return { id: cookies.session_id || cookies.sessionid || cookies.sid || null, raw, cookies };
}

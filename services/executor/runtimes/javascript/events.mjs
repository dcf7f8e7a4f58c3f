// From the head and body of a request to the event that a handler sees.

import { isUtf8 } from "node:buffer";

const { hasOwn, defineProperty } = Object;

/** A new event. `body` is null in it when empty; one that is not UTF-8 is base64 beside it. The event has its own `env` and `secrets`. */
export function eventOf({ head, body, env, secrets }) {
  const event = head;
  const context = event.context;
  context.request_id = event.id;
  for (const name of ["traceparent", "user", "trigger"]) {
    if (event[name]) context[name] = event[name];
    delete event[name];
  }
  event.path_params = event.params;
  event.env = { ...env };
  event.secrets = { ...secrets };
  const [text, isBase64] = textOf(body);
  event.body = isBase64 ? null : text;
  if (isBase64) {
    event.body_base64 = text;
    event.is_base64 = true;
  }
  const cookie = event.headers.cookie;
  if (cookie !== undefined) event.session = sessionOf(joined(cookie, "; "));
  return event;
}

/** A body as text, and whether that is base64 because it is no UTF-8; null when there is none. */
export function textOf(body) {
  if (body === null) return [null, false];
  return isUtf8(body) ? [body.utf8Slice(), false] : [body.base64Slice(), true];
}

/** A header's or query's value as one text; it is a list when it came several times. */
export function joined(value, separator) {
  return Array.isArray(value) ? value.join(separator) : String(value);
}

function sessionOf(raw) {
  const cookies = {};
  for (const pair of raw.split(";")) {
    const [, name, value] = /^\s*([^=]+?)\s*=\s*"?(.*?)"?\s*$/s.exec(pair) ?? [];
    if (name && !hasOwn(cookies, name)) defineProperty(cookies, name, { value, enumerable: true, writable: true, configurable: true });
  }
  return { id: cookies.session_id || cookies.sessionid || cookies.sid || null, raw, cookies };
}

// From what a module exports to the handler and the style that it is written in.

import { NoHandler } from "./failures.mjs";
import { fetchStyle, workerStyle } from "./fetching.mjs";
import { fluxbaseStyle } from "./fluxbase.mjs";
import { lambdaStyle } from "./lambda.mjs";
import { nativeStyle } from "./native.mjs";

const STYLES = {
  native: [nativeStyle, (exported, name) => native(exported, name)],
  fetch: [fetchStyle, (exported, name) => defaultOf(exported) ?? methodOf(exported, "fetch") ?? native(exported, name)],
  fluxbase: [fluxbaseStyle, (exported, name) => defaultOf(exported) ?? native(exported, name) ?? named(exported, "default_handler")],
  "aws-lambda": [lambdaStyle, (exported, name) => native(exported, name)],
  "cloudflare-worker": [workerStyle, (exported, name) => methodOf(exported, "fetch") ?? native(exported, name)],
};

/**
 * What runs a call: `run({head, body, env, secrets, call})`, made from the exports of the entry file; its `fetches` tells whether each call
 * needs the language's `Request` and `Response`, its `reads` whether it takes an `Intake` for a body. Throws NoHandler.
 */
export function adapterOf(exported, { entrypoint, handler: name, style, isModule, version }) {
  const [make, handler] = style === "auto" ? recognised(exported, name, isModule) : chosen(exported, name, style);
  const fetches = make === fetchStyle || make === workerStyle;
  if (handler !== null) return Object.assign(make(handler, version), { fetches, reads: fetches });
  const wanted = name === "handler" ? "handler or main" : name;
  throw new NoHandler(`${entrypoint}: no function named ${wanted} is exported${style === "auto" ? "" : ` (style ${style})`}`);
}

function chosen(exported, name, style) {
  if (!Object.hasOwn(STYLES, style)) throw new NoHandler(`a handler in the style ${style} is not known here`);
  const [make, find] = STYLES[style];
  return [make, find(exported, name)];
}

/** By its exports: the handler's name means an event; a default export is what the web's own platforms take it for. */
function recognised(exported, name, isModule) {
  const byName = named(exported, name);
  if (byName !== null) return [nativeStyle, byName];
  const worker = named({ default: exported?.default }, "fetch");
  if (worker !== null) return [workerStyle, worker];
  const byDefault = isModule ? defaultOf(exported) : null;
  if (byDefault !== null) return [fetchStyle, byDefault];
  return [nativeStyle, name === "handler" ? named(exported, "main") : null];
}

/** A named export, the same on the default export, then (unless another name is configured) the export itself, then `main`. */
function native(exported, name) {
  const byName = named(exported, name);
  if (byName !== null || name !== "handler") return byName;
  for (const holder of [exported, exported?.default]) if (typeof holder === "function") return holder;
  return named(exported, "main");
}

function named(exported, name) {
  for (const holder of [exported, exported?.default]) {
    if (typeof holder?.[name] === "function") return holder[name].bind(holder);
  }
  return null;
}

function defaultOf(exported) {
  return typeof exported?.default === "function" ? exported.default : null;
}

function methodOf(exported, name) {
  return named({ default: exported?.default }, name) ?? named(exported, name);
}

// The life of a guest: it says that it is ready, loads one version, then answers calls until the executor closes the descriptor
// that the last argument names. What differs between Node and Deno is handed in as `platform`.

import { Buffer } from "node:buffer";
import { dirname, join } from "node:path";
import process from "node:process";

import { Call } from "./calls.mjs";
import { AHEAD, BODY, CALL, CREDIT, Channel, EMPTY, ERROR, LOAD, LOADED, PIECEWISE, PRINTED, READY, WARM } from "./channel.mjs";
import { messageOf, placeOf, stackOf, typeOf } from "./failures.mjs";
import { Intake, Unreadable } from "./intake.mjs";
import { adapterOf } from "./loading.mjs";

const { parse, stringify } = JSON;
const { from } = Buffer;
const inNextTurn = setImmediate;

/**
 * Serves. `platform`: `runtime` and `version` (names), `descriptor`, `writeNow` (for the channel), `prepare()` (before code is
 * loaded), `hasPrinted(sent)` (whether anything was printed since it was asked last, also
 * when that cannot be told; `sent` is what the channel counts; null: calls cannot be sent ahead), `settle()` (while there is no code yet: what the first load would have to wait for), `run(path)` (the entry file's
 * exports and whether it is an ES module), `placeOfSyntaxError(path)`, `warmUps` (what makes ready in advance what only some code
 * needs, by the words for it in LOADED and WARM).
 */
export function serve(platform) {
  const exit = process.exit.bind(process);
  // process.stderr is made when it is touched first, which takes milliseconds that only an error needs.
  const worker = { channel: null, root: "", log: (text) => process.stderr.write(text), unread, onFree };
  const waiting = []; // calls that were sent ahead
  let isAhead = false; // whether the last call that was begun was sent ahead
  let unreadOf = 0; // the last call that has ended, when what it printed may lie unread
  let adapter = null;
  let env = {};
  let secrets = {};
  let running = null; // the last call that was begun

  async function onLoad(head) {
    worker.root = head.root.replace(/\/+$/, "");
    env = head.env ?? {};
    secrets = head.secrets ?? {};
    const path = join(worker.root, head.entrypoint);
    try {
      platform.prepare();
      Object.assign(process.env, env);
      process.argv.length = 1;
      process.argv.push(path);
      process.chdir(dirname(path));
      const { exported, isModule } = await platform.run(path, worker.root);
      adapter = adapterOf(exported, {
        entrypoint: head.entrypoint,
        handler: head.handler || "handler",
        style: head.handler_style || "auto",
        isModule,
        version: { name: head.name, label: head.version, memoryMb: head.memory_mb },
      });
    } catch (error) {
      const place = placeOf(error, worker.root, head.entrypoint, () => platform.placeOfSyntaxError(path));
      const message = place + messageOf(error, worker.root);
      const failure = { code: "load_error", type: typeOf(error), message, stack: stackOf(error, worker.root) };
      const body = from(stringify({ error: message }));
      worker.channel.send(ERROR, 0, { status: 500, head: from(stringify(failure)), body });
      return;
    }
    const words = wordsOf(path, adapter);
    const flags = adapter.reads ? PIECEWISE : 0;
    worker.channel.send(LOADED, 0, { flags, head: words.length > 0 ? from(stringify(words)) : EMPTY });
  }

  /** What the code needs that other code does without. */
  function wordsOf(path, { fetches }) {
    const needed = { typescript: /\.[mc]?tsx?$/.test(path), fetch: fetches };
    return Object.keys(platform.warmUps).filter((word) => needed[word]);
  }

  function onWarm(words) {
    for (const word of words) if (Object.hasOwn(platform.warmUps, word)) platform.warmUps[word]();
  }

  function onCall(id, head, body, flags) {
    running = new Call(id, worker);
    if (flags & PIECEWISE) body = running.intake = new Intake(worker.channel, id);
    running.run((call) => {
      if (adapter === null) throw new Error("no code is loaded");
      return adapter({ head: parse(head), body, env, secrets, call });
    });
  }

  /** Begins the first call that waits, in a turn of its own: what the one before it left to be done in its turn is done by then. */
  function next() {
    if (waiting.length === 0 || unreadOf !== 0 || running?.runs) return;
    const { id, head, body, flags } = waiting.shift();
    isAhead = true;
    onCall(id, head, body, flags);
  }

  function onFree() {
    if (waiting.length > 0) inNextTurn(next);
  }

  /**
   * PRINTED, unless it is known that the call has printed nothing: the next one begins when the executor has read that, so that
   * no line is taken for a neighbour's. Asking takes as long as a short call, so that it is left out where there are no neighbours.
   */
  function unread(id) {
    unreadOf = 0;
    if (platform.hasPrinted === null) return 0;
    if ((isAhead || waiting.length > 0) && !platform.hasPrinted(worker.channel.sent)) return 0;
    unreadOf = id;
    return PRINTED;
  }

  function onFrame(kind, id, status, head, body, flags) {
    if (kind === CALL && (flags & AHEAD) !== 0) {
      waiting.push({ id, head, body, flags });
      inNextTurn(next);
    } else if (kind === CALL) {
      unreadOf = 0;
      isAhead = false;
      onCall(id, head, body, flags);
    } else if (kind === CREDIT && id === unreadOf) {
      unreadOf = 0;
      inNextTurn(next);
    } else if (kind === CREDIT && id === running?.id) running.grant(status);
    else if (kind === BODY && id === running?.id) running.intake?.take(body, flags);
    else if (kind === LOAD) onLoad(parse(head));
    else if (kind === WARM) onWarm(parse(head));
  }

  // What is thrown where no caller can catch it belongs to the call that runs, if one does; otherwise to the log. Either way
  // the worker goes on: the executor replaces it if it misbehaves.
  function onStray(what, error) {
    if (error instanceof Unreadable) return; // a read that nobody waits for, of a call that is over
    worker.log(`${what}: ${stackOf(error, worker.root)}\n`);
    if (running?.open) running.fail(error);
  }
  process.on("uncaughtException", (error) => onStray("uncaught exception", error));
  process.on("unhandledRejection", (reason) => onStray("unhandled rejection", reason));

  const { descriptor, writeNow, runtime, version } = platform;
  worker.channel = new Channel(descriptor, { onFrame, onEnd: () => exit(0), writeNow });
  worker.channel.send(READY, 0, { head: from(stringify({ protocol: 1, runtime, version, read_ahead: platform.hasPrinted !== null })) });
  // What fails now fails again when code is loaded, and is told then.
  setTimeout(() => (async () => platform.settle())().catch(() => {}), 0).unref();
}

// One call from its request to its last frame: the handler is run, its answer sent whole or in pieces, and what it asked to
// be waited for is waited for.

import { Buffer } from "node:buffer";

import { InvalidResponse, answerOf, headOf, typeOfPiece } from "./answers.mjs";
import { ANSWER, BACKGROUND, CHUNK, CHUNK_BYTES, COMPUTED, EMPTY, END, ERROR, START, WINDOW } from "./channel.mjs";
import { messageOf, stackOf, statusOf, typeOf } from "./failures.mjs";
import { begin, hasWaited } from "./meter.mjs";
import { NoPiece, bytesOfPiece } from "./pieces.mjs";

const INVALID = Buffer.from('{"error":"invalid runtime response"}');

// Bound now, so that user code that replaces them breaks only what it does itself.
const { stringify } = JSON;
const { concat, from } = Buffer;
const { min } = Math;
const inNextTurn = setImmediate;
const notInNextTurn = clearImmediate;

export class Call {
  #id;
  #worker;
  #waited = false;
  #answered = false;
  #credit = WINDOW;
  #onCredit = null;
  #pending = null; // how many promises it still waits for; null when it was never asked to
  #background = false;
  /** The body of its request, when the handler reads that by and by. */
  intake = null;

  /** `worker` has `channel`, `root`, `log(text)`, `unread(id)`, which is asked for flags of the last frame, and `onFree()`. */
  constructor(id, worker) {
    this.#id = id;
    this.#worker = worker;
    begin();
  }

  get id() {
    return this.#id;
  }

  /** Whether its last frame that can tell of an error is still to come. */
  get open() {
    return !this.#answered;
  }

  /** Whether its last frame is still to come. */
  get runs() {
    return !this.#answered || this.#background;
  }

  /** Runs `run(this)` and answers with what it returns, in this turn of the event loop if it needs no other. */
  run(run) {
    let value;
    try {
      value = run(this);
    } catch (error) {
      this.fail(error);
      return;
    }
    if (typeof value?.then === "function") this.#later(value);
    else this.#answer(value);
  }

  /** Has the call go on after its answer until the promise is settled. */
  waitUntil(promise) {
    this.#pending = (this.#pending ?? 0) + 1;
    Promise.resolve(promise)
      .catch((reason) => this.#worker.log(`waitUntil: ${stackOf(reason, this.#worker.root)}\n`))
      .finally(() => {
        this.#pending -= 1;
        this.#settle();
      });
  }

  /** Lets so many chunks more be sent. */
  grant(chunks) {
    this.#credit += chunks;
    this.#onCredit?.();
    this.#onCredit = null;
  }

  /** Answers with an error that user code threw, or breaks its stream off with it. */
  fail(error) {
    const message = messageOf(error, this.#worker.root);
    this.#fail(error, { code: "handler_error", status: statusOf(error), message });
  }

  async #later(promise) {
    // Runs only if the promise needs another turn of the event loop: the handler then waits for something.
    const turn = inNextTurn(() => (this.#waited = true));
    let value;
    try {
      value = await promise;
    } catch (error) {
      this.fail(error);
      return;
    } finally {
      notInNextTurn(turn);
    }
    this.#answer(value);
  }

  #answer(value) {
    if (this.#answered) return;
    let answer;
    try {
      answer = answerOf(value);
    } catch (error) {
      this.#unwritable(error);
      return;
    }
    if (answer.pieces !== undefined) this.#stream(answer);
    else this.#whole(answer);
  }

  #whole({ status, head, body }) {
    this.#finish(ANSWER, { status, head, body });
  }

  async #stream({ status, pairs, contentType, pieces, whole }) {
    try {
      const ready = whole ? await atOnce(pieces) : { bytes: EMPTY, done: false };
      if (this.#answered) return await pieces.cancel();
      if (ready.done) {
        const head = headOf(pairs, contentType, ready.bytes.length > 0 ? typeOfPiece(null) : "");
        return this.#whole({ status, head, body: ready.bytes });
      }
      this.#waited = true;
      if (ready.bytes.length > 0 || whole) await this.#start(status, headOf(pairs, contentType, typeOfPiece(null)), ready.bytes);
      else await this.#open(status, pairs, contentType, pieces);
      await this.#pump(pieces);
    } catch (error) {
      if (error instanceof NoPiece) this.#unwritable(error);
      else this.fail(error);
      await pieces.cancel(error);
    }
  }

  /** The first piece goes with the head; the head goes alone when the piece needs time and what kind it is is known already. */
  async #open(status, pairs, contentType, pieces) {
    let first = await pieces.nextAtOnce();
    if (first === null && contentType === "") first = await pieces.next();
    if (first === null) return await this.#start(status, headOf(pairs, contentType, ""), EMPTY);
    const bytes = first.done ? EMPTY : bytesOfPiece(first.value);
    await this.#start(status, headOf(pairs, contentType, first.done ? "" : typeOfPiece(first.value)), bytes);
    if (first.done) this.#end();
  }

  async #start(status, head, bytes) {
    if (this.#answered) return;
    this.#send(START, { status, head, body: bytes.subarray(0, CHUNK_BYTES) });
    await this.#chunks(bytes.subarray(CHUNK_BYTES));
  }

  /** Asks for a piece only when there is room for it, so that the source waits for the one who reads. */
  async #pump(pieces) {
    while (!this.#answered) {
      await this.#room();
      if (this.#answered) break;
      const { done, value } = await pieces.next();
      if (done) return this.#end();
      await this.#chunks(bytesOfPiece(value));
    }
    await pieces.cancel();
  }

  async #chunks(bytes) {
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      await this.#room();
      if (this.#answered) return;
      this.#credit -= 1;
      this.#send(CHUNK, { body: bytes.subarray(at, min(at + CHUNK_BYTES, bytes.length)) });
    }
  }

  async #room() {
    while (this.#credit <= 0 && !this.#answered) await new Promise((resolve) => (this.#onCredit = resolve));
  }

  #end() {
    if (!this.#answered) this.#finish(END, {});
  }

  #finish(kind, frame) {
    this.#answered = true;
    this.intake?.close();
    this.#background = this.#pending !== null;
    this.#send(kind, frame);
    this.#settle();
  }

  #settle() {
    if (!this.#background || this.#pending > 0) return;
    this.#background = false;
    this.#send(END, {});
  }

  #unwritable(error) {
    if (error instanceof InvalidResponse) {
      this.#fail(error, { code: "invalid_response", status: 502, message: error.message });
      return;
    }
    const message = `the handler's answer cannot be written: ${messageOf(error, this.#worker.root)}`;
    this.#fail(error, { code: "handler_error", status: 500, message });
  }

  #fail(error, { code, status, message }) {
    if (this.#answered) return;
    this.#answered = true;
    this.intake?.close();
    const head = { code, type: typeOf(error), message, stack: stackOf(error, this.#worker.root) };
    const body = code === "invalid_response" ? INVALID : from(stringify({ error: message }));
    this.#send(ERROR, { status, head: from(stringify(head)), body });
    this.#onCredit?.(); // what streams finds that it is over
  }

  #send(kind, frame) {
    if (kind === START || kind === CHUNK) return this.#worker.channel.send(kind, this.#id, frame);
    const flags = this.#waited || hasWaited() ? 0 : COMPUTED;
    if (this.#background) return this.#worker.channel.send(kind, this.#id, { ...frame, flags: flags | BACKGROUND });
    this.#worker.channel.send(kind, this.#id, { ...frame, flags: flags | this.#worker.unread(this.#id) });
    this.#worker.onFree();
  }
}

/** What of a body is there without waiting for anything: all of it, or about a chunk. */
async function atOnce(pieces) {
  const found = [];
  let size = 0;
  while (found.length < 2 || size < CHUNK_BYTES) {
    const result = await pieces.nextAtOnce();
    if (result === null) break;
    if (result.done) return { bytes: joined(found, size), done: true };
    found[found.length] = bytesOfPiece(result.value);
    size += found[found.length - 1].length;
  }
  return { bytes: joined(found, size), done: false };
}

function joined(found, size) {
  return found.length === 1 ? found[0] : concat(found, size);
}

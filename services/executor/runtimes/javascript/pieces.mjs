// Bodies that come in pieces: web streams, Node streams, generators and async generators, all read in one way.

import { Buffer } from "node:buffer";

const LATER = Symbol("later");
const { from, isBuffer } = Buffer;
const { race } = Promise;
const startNextTurn = setImmediate;

/** What came is nothing that a body is made of. */
export class NoPiece extends TypeError {}

/** Whether a value is a body that comes in pieces. Arrays, sets and maps are not: they are JSON. */
export function isPieces(value) {
  if (typeof value !== "object" || value === null) return false;
  if (typeof value.getReader === "function" || typeof value[Symbol.asyncIterator] === "function") return true;
  return typeof value.next === "function" && typeof value[Symbol.iterator] === "function";
}

export class Pieces {
  #next;
  #cancel;
  #asked = null; // a piece that was asked for and has not come

  constructor(source) {
    if (typeof source.getReader === "function") {
      const reader = source.getReader();
      this.#next = () => reader.read();
      this.#cancel = (reason) => reader.cancel(reason);
    } else {
      const items = source[Symbol.asyncIterator]?.() ?? source[Symbol.iterator]();
      this.#next = async () => items.next();
      this.#cancel = (reason) => (source.destroy ? source.destroy(reason) : items.return?.());
    }
  }

  /** The next {done, value}. */
  async next() {
    const asked = this.#asked ?? this.#next();
    this.#asked = null;
    return await asked;
  }

  /** The next one if it needs nothing that is still to happen, else null: it is then what `next` gives. */
  async nextAtOnce() {
    this.#asked ??= this.#next();
    const result = await race.call(Promise, [this.#asked, new Promise((give) => startNextTurn(give, LATER))]);
    if (result === LATER) return null;
    this.#asked = null;
    return result;
  }

  /** Tells the source that nobody wants more of it. */
  async cancel(reason) {
    try {
      await this.#cancel(reason);
    } catch {
      // it is no longer anybody's business
    }
  }
}

/** A piece as bytes. */
export function bytesOfPiece(piece) {
  if (typeof piece === "string") return from(piece);
  if (isBytes(piece)) return bytesOf(piece);
  throw new NoPiece(`a piece of a streamed body must be text or bytes, not ${piece === null ? "null" : typeof piece}`);
}

export function isBytes(value) {
  return ArrayBuffer.isView(value) || value instanceof ArrayBuffer;
}

export function bytesOf(value) {
  if (isBuffer(value)) return value;
  return value instanceof ArrayBuffer ? from(value) : from(value.buffer, value.byteOffset, value.byteLength);
}

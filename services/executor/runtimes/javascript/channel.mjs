// Frames on the worker's descriptor, from the guest's side. The format is described in services/executor/frames.py.

import { Buffer } from "node:buffer";
import { Socket } from "node:net";

export const READY = 1;
export const LOAD = 2;
export const LOADED = 3;
export const CALL = 4;
export const ANSWER = 5;
export const ERROR = 6;
export const START = 7;
export const CHUNK = 8;
export const END = 9;
export const CREDIT = 10;
export const WARM = 11;
export const BODY = 12;

export const COMPUTED = 0x01;
export const BACKGROUND = 0x02;
export const PRINTED = 0x04;
export const AHEAD = 0x08;
export const PIECEWISE = 0x10;
export const LAST = 0x20;

/** Chunks of one answer that may be sent before more are granted (as many pieces of a body may be asked for), and the largest of them. */
export const WINDOW = 8;
export const CHUNK_BYTES = 65536;

export const EMPTY = Buffer.alloc(0);

const HEADER_SIZE = 24;
const LENGTH_SIZE = 4;
const FIXED_SIZE = HEADER_SIZE - LENGTH_SIZE;
const READ_SIZE = 65536;
const JOIN_BELOW = 65536; // copying a body up to this size is cheaper than a second buffer

// Bound now: user code may replace what it finds on the prototypes, but then breaks only what it does itself.
const { allocUnsafe, allocUnsafeSlow, concat, from } = Buffer;
const { max } = Math;

export class Channel {
  #descriptor;
  #socket;
  #write;
  #writeNow;
  #onFrame;
  #onEnd;
  #pieces = []; // of a frame that has not come whole
  #have = 0;
  #wanted = 0;

  /** Bytes that were written past the stream. */
  sent = 0;

  /**
   * Calls `onFrame(type, call, status, head text, body, flags)` for each frame and `onEnd()` when the executor has gone.
   * `writeNow(descriptor, bytes)` writes what fits without waiting and returns how much that was; null when there is no such.
   */
  constructor(descriptor, { onFrame, onEnd, writeNow }) {
    this.#descriptor = descriptor;
    this.#onFrame = onFrame;
    this.#onEnd = onEnd;
    this.#writeNow = writeNow;
    const onread = {
      buffer: allocUnsafeSlow(READ_SIZE),
      callback: (size, buffer) => {
        this.#take(buffer.subarray(0, size));
        return true;
      },
    };
    const socket = new Socket({ fd: descriptor, readable: true, writable: true, onread });
    socket.on("end", onEnd);
    socket.on("close", onEnd);
    socket.on("error", onEnd);
    socket.resume();
    this.#write = socket.write.bind(socket);
    this.#socket = socket;
  }

  /** `data` is only ours until this returns: the next read writes over it. */
  #take(data) {
    if (this.#have === 0 && data.length >= HEADER_SIZE && data.length === LENGTH_SIZE + data.readUInt32BE(0)) {
      this.#give(data, data.length);
      return;
    }
    this.#pieces[this.#pieces.length] = from(data);
    this.#have += data.length;
    if (this.#have < max(this.#wanted, HEADER_SIZE)) return;
    let all = this.#pieces.length === 1 ? this.#pieces[0] : concat(this.#pieces, this.#have);
    while (all.length >= HEADER_SIZE) {
      const size = LENGTH_SIZE + all.readUInt32BE(0);
      this.#wanted = size;
      if (all.length < size) break;
      this.#give(all, size);
      all = all.subarray(size);
      this.#wanted = 0;
    }
    this.#pieces = all.length > 0 ? [all] : [];
    this.#have = all.length;
  }

  #give(data, size) {
    const bodyAt = HEADER_SIZE + data.readUInt32BE(12);
    const body = bodyAt < size ? from(data.subarray(bodyAt, size)) : null;
    this.#onFrame(data[4], data.readUInt32BE(8), data.readUInt16BE(6), data.utf8Slice(HEADER_SIZE, bodyAt), body, data[5]);
  }

  /** What a call used is not said, since the executor takes the kernel's word for it. */
  send(kind, call, { flags = 0, status = 0, head = EMPTY, body = EMPTY } = {}) {
    const joined = body.length < JOIN_BELOW;
    const bodyAt = HEADER_SIZE + head.length;
    const frame = allocUnsafe(joined ? bodyAt + body.length : bodyAt);
    frame.writeUInt32BE(FIXED_SIZE + head.length + body.length, 0);
    frame[4] = kind;
    frame[5] = flags;
    frame.writeUInt16BE(status, 6);
    frame.writeUInt32BE(call, 8);
    frame.writeUInt32BE(head.length, 12);
    frame.fill(0, 16, HEADER_SIZE);
    frame.set(head, HEADER_SIZE);
    if (joined) frame.set(body, bodyAt);
    this.#put(frame);
    if (!joined) this.#put(body);
  }

  /** Past the stream when it is empty: that takes a third of the time. */
  #put(bytes) {
    if (this.#writeNow !== null && this.#socket.writableLength === 0) {
      let sent;
      try {
        sent = this.#writeNow(this.#descriptor, bytes);
      } catch (error) {
        if (error?.code !== "EAGAIN") return this.#onEnd();
        sent = 0;
      }
      this.sent += sent;
      if (sent === bytes.length) return;
      bytes = bytes.subarray(sent);
    }
    this.#write(bytes);
  }
}

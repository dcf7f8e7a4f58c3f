// Frames on the worker's descriptor, from the guest's side. The format is described in services/executor/frames.py.
// Node marks inherited descriptors close-on-exec when it starts, so programs that user code starts do not get this one.

import { Socket } from "node:net";

export const READY = 1;
export const LOAD = 2;
export const LOADED = 3;
export const CALL = 4;
export const ANSWER = 5;
export const ERROR = 6;

const HEADER_SIZE = 24;
const LENGTH_SIZE = 4;
const FIXED_SIZE = HEADER_SIZE - LENGTH_SIZE;
const READ_SIZE = 65536;
const JOIN_BELOW = 65536; // copying a body up to this size is cheaper than a second buffer

export class Channel {
  #socket;
  #onFrame;
  #pieces = []; // of a frame that has not come whole
  #have = 0;
  #wanted = 0;

  /** Calls `onFrame(type, call, head text, body)` for each frame and `onEnd()` when the executor has gone. */
  constructor(descriptor, onFrame, onEnd) {
    this.#onFrame = onFrame;
    const onread = {
      buffer: Buffer.allocUnsafeSlow(READ_SIZE),
      callback: (size, buffer) => {
        this.#take(buffer.subarray(0, size));
        return true;
      },
    };
    this.#socket = new Socket({ fd: descriptor, readable: true, writable: true, onread });
    this.#socket.on("end", onEnd);
    this.#socket.on("close", onEnd);
    this.#socket.on("error", onEnd);
    this.#socket.resume();
  }

  /** `data` is only ours until this returns: the next read writes over it. */
  #take(data) {
    if (this.#have === 0 && data.length >= HEADER_SIZE && data.length === LENGTH_SIZE + data.readUInt32BE(0)) {
      this.#give(data, data.length);
      return;
    }
    this.#pieces.push(Buffer.from(data));
    this.#have += data.length;
    if (this.#have < Math.max(this.#wanted, HEADER_SIZE)) return;
    let all = this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces, this.#have);
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
    const body = bodyAt < size ? Buffer.from(data.subarray(bodyAt, size)) : null;
    this.#onFrame(data[4], data.readUInt32BE(8), data.utf8Slice(HEADER_SIZE, bodyAt), body);
  }

  send(kind, call, status, head, body, cpuUs, peakKib) {
    const joined = body.length < JOIN_BELOW;
    const bodyAt = HEADER_SIZE + head.length;
    const frame = Buffer.allocUnsafe(joined ? bodyAt + body.length : bodyAt);
    frame.writeUInt32BE(FIXED_SIZE + head.length + body.length, 0);
    frame[4] = kind;
    frame[5] = 0;
    frame.writeUInt16BE(status, 6);
    frame.writeUInt32BE(call, 8);
    frame.writeUInt32BE(head.length, 12);
    frame.writeUInt32BE(Math.min(cpuUs, 0xffffffff), 16);
    frame.writeUInt32BE(peakKib, 20);
    frame.set(head, HEADER_SIZE);
    if (joined) {
      frame.set(body, bodyAt);
      this.#socket.write(frame);
      return;
    }
    this.#socket.cork();
    this.#socket.write(frame);
    this.#socket.write(body);
    this.#socket.uncork();
  }
}

// The body of a request that the handler reads by and by: a stream that asks for pieces as it is read, a window of them ahead.

import { CREDIT, LAST, WINDOW } from "./channel.mjs";

/** The rest of a request cannot be read any more. Who does not care that it failed has not failed himself. */
export class Unreadable extends TypeError {
  name = "TypeError";

  constructor() {
    super("the call has been answered: the rest of its request cannot be read");
  }
}

export class Intake {
  #channel;
  #call;
  #pieces = [];
  #asked = false;
  #complete = false;
  #closed = false;
  #wake = null;

  /** Takes what comes for `call` on the channel; nothing comes before somebody reads. */
  constructor(channel, call) {
    this.#channel = channel;
    this.#call = call;
  }

  /** The body, to be read once. */
  stream() {
    const pull = (controller) => this.#pull(controller);
    return new ReadableStream({ pull, cancel: () => this.close() }, { highWaterMark: 0 });
  }

  /** Takes a piece from the executor; `data` is null when it is empty. */
  take(data, flags) {
    if (data !== null && !this.#closed) this.#pieces.push(new Uint8Array(data));
    this.#complete = (flags & LAST) !== 0;
    this.#wake?.();
  }

  /** Asks for nothing more: the call has been answered, or nobody wants the rest. */
  close() {
    this.#closed = true;
    this.#pieces = [];
    this.#wake?.();
  }

  async #pull(controller) {
    if (!this.#asked) {
      this.#asked = true;
      this.#grant(WINDOW);
    }
    while (this.#pieces.length === 0 && !this.#complete && !this.#closed) {
      await new Promise((resolve) => (this.#wake = resolve));
    }
    if (this.#closed) throw new Unreadable();
    if (this.#pieces.length > 0) {
      controller.enqueue(this.#pieces.shift());
      if (!this.#complete) this.#grant(1);
    }
    if (this.#complete && this.#pieces.length === 0) controller.close();
  }

  #grant(pieces) {
    if (!this.#closed) this.#channel.send(CREDIT, this.#call, { status: pieces });
  }
}

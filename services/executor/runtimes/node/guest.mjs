// The program of a Node worker: loads one version, then answers one call after the other until the executor closes the
// descriptor that the last argument names. It leaves frames to channel.mjs, and what a call means to events.mjs and answers.mjs.

import { readFileSync } from "node:fs";

import { InvalidResponse, answerOf } from "./answers.mjs";
import { ANSWER, CALL, Channel, ERROR, LOAD, LOADED, READY } from "./channel.mjs";
import { eventOf } from "./events.mjs";
import { messageOf, placeOf, stackOf, statusOf, typeOf } from "./failures.mjs";
import { load } from "./loading.mjs";

const EMPTY = Buffer.alloc(0);
const INVALID = Buffer.from('{"error":"invalid runtime response"}');
const exit = process.exit.bind(process);
const writeError = (text) => process.stderr.write(text);

let channel;
let handler = null;
let root = "";
let env = {};
let running = null; // the last call that has no answer yet
const inheritedPeak = process.resourceUsage().maxRSS;
let ownPeak = 0;

/** CPU microseconds since `started`, and the peak of the resident size in KiB. */
function usage(started) {
  const now = process.resourceUsage();
  const cpu = started ? now.userCPUTime + now.systemCPUTime - started.user - started.system : 0;
  if (now.maxRSS > inheritedPeak) return [cpu, now.maxRSS];
  // A kernel counts into maxRSS the size of the program that started this one. A sandbox's is outgrown at once; until then:
  if (process.memoryUsage.rss() / 1024 > ownPeak) {
    ownPeak = Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "latin1"))?.[1] ?? 0);
  }
  return [cpu, ownPeak];
}

function fail(call, { code, status, error, message }) {
  const head = { code, type: typeOf(error), message, stack: stackOf(error, root) };
  const body = code === "invalid_response" ? INVALID : Buffer.from(JSON.stringify({ error: message }));
  const [cpu, peak] = usage(call.started);
  channel.send(ERROR, call.id, status, Buffer.from(JSON.stringify(head)), body, cpu, peak);
}

async function onLoad(head) {
  root = head.root.replace(/\/+$/, "");
  env = head.env ?? {};
  try {
    Object.assign(process.env, env);
    handler = await load(root, head.entrypoint, head.handler || "handler");
  } catch (error) {
    const message = placeOf(error, root, head.entrypoint) + messageOf(error, root);
    fail({ id: 0, started: null }, { code: "load_error", status: 500, error, message });
    return;
  }
  channel.send(LOADED, 0, 0, EMPTY, EMPTY, 0, 0);
}

async function onCall(id, head, body) {
  const call = { id, started: process.cpuUsage(), answered: false };
  running = call;
  let value;
  try {
    if (handler === null) throw new Error("no code is loaded");
    const event = eventOf(head, body, env);
    value = handler(event, event.params);
    if (typeof value?.then === "function") value = await value;
  } catch (error) {
    onHandlerError(call, error);
    return;
  }
  let answer;
  try {
    answer = answerOf(value);
    if (typeof answer.then === "function") answer = await answer;
  } catch (error) {
    if (!settle(call)) return;
    if (error instanceof InvalidResponse) {
      fail(call, { code: "invalid_response", status: 502, error, message: error.message });
    } else {
      const message = `the handler's answer cannot be written: ${messageOf(error, root)}`;
      fail(call, { code: "handler_error", status: 500, error, message });
    }
    return;
  }
  if (!settle(call)) return;
  const [cpu, peak] = usage(call.started);
  channel.send(ANSWER, id, answer.status, answer.head, answer.body, cpu, peak);
}

/** Whether the call is still to be answered; an exception outside the handler's promise may have come first. */
function settle(call) {
  if (call.answered) return false;
  call.answered = true;
  if (running === call) running = null;
  return true;
}

function onHandlerError(call, error) {
  if (!settle(call)) return;
  fail(call, { code: "handler_error", status: statusOf(error), error, message: messageOf(error, root) });
}

function onFrame(kind, id, head, body) {
  if (kind === CALL) onCall(id, head, body);
  else if (kind === LOAD) onLoad(JSON.parse(head));
}

// What is thrown where no caller can catch it belongs to the call that runs, if one does; otherwise to the log. Either way
// the worker goes on: the executor replaces it if it misbehaves.
process.on("uncaughtException", (error) => {
  writeError(`uncaught exception: ${stackOf(error, root)}\n`);
  if (running !== null) onHandlerError(running, error);
});
process.on("unhandledRejection", (reason) => writeError(`unhandled rejection: ${stackOf(reason, root)}\n`));

const descriptor = Number(process.argv.pop());
process.argv.length = 1;
channel = new Channel(descriptor, onFrame, () => exit(0));
const greeting = { protocol: 1, runtime: "node", version: process.versions.node };
channel.send(READY, 0, 0, Buffer.from(JSON.stringify(greeting)), EMPTY, 0, 0);

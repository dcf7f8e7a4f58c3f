// Whether a call waited for anything.

import process from "node:process";

const SHORT_MS = 1;

const resourceUsage = process.resourceUsage.bind(process);
const now = performance.now.bind(performance);

let at = 0;
let switches = 0;

/** A call begins. */
export function begin() {
  at = now();
  switches = resourceUsage().voluntaryContextSwitches;
}

/** Whether the call that has begun last gave its processor away; the language does that by itself now and then for a moment. */
export function hasWaited() {
  return now() - at > SHORT_MS && resourceUsage().voluntaryContextSwitches !== switches;
}

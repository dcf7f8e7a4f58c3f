// What a call used: processor time, the largest resident size, and whether it waited for anything.

import process from "node:process";

const RSS_EVERY_MS = 20;
const SHORT_MS = 1;

const resourceUsage = process.resourceUsage.bind(process);
const residentSize = process.memoryUsage.rss.bind(process.memoryUsage);
const now = performance.now.bind(performance);
const { max } = Math;

export class Meter {
  #inheritedPeak = resourceUsage().maxRSS;
  #peak = 0;
  #measuredAt = -Infinity;

  start() {
    return { usage: resourceUsage(), at: now() };
  }

  stop({ usage, at }) {
    const used = resourceUsage();
    const time = now();
    return {
      cpuUs: used.userCPUTime + used.systemCPUTime - usage.userCPUTime - usage.systemCPUTime,
      peakKib: this.#peakKib(used.maxRSS, time),
      waited: time - at > SHORT_MS && used.voluntaryContextSwitches !== usage.voluntaryContextSwitches,
    };
  }

  /** A kernel counts into maxRSS the size of the program that started this one: until that is outgrown, the present size. */
  #peakKib(maxRss, time) {
    if (maxRss > this.#inheritedPeak) return maxRss;
    if (time - this.#measuredAt > RSS_EVERY_MS) {
      this.#measuredAt = time;
      this.#peak = max(this.#peak, Math.round(residentSize() / 1024));
    }
    return this.#peak;
  }
}

// From a folder of user code to one function of (event, params).

import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

/** The code has no handler of the name it should have. */
export class NoHandler extends Error {}

/**
 * Runs the entry file (CommonJS, ESM or TypeScript that only needs its types stripped) and gives its handler. The file's
 * folder becomes the current one. Throws whatever the code throws, or NoHandler when it has no handler.
 */
export async function load(root, entrypoint, name) {
  const path = join(root, entrypoint);
  process.argv.length = 1;
  process.argv.push(path);
  process.chdir(dirname(path));
  const handler = find(await run(path), name);
  if (handler === null) {
    throw new NoHandler(`${entrypoint}: no function named ${name === "handler" ? "handler or main" : name} is exported`);
  }
  return handler;
}

async function run(path) {
  try {
    return createRequire(path)(path); // quicker than import(), and takes all module kinds but those that await at top level
  } catch (error) {
    if (error?.code !== "ERR_REQUIRE_ASYNC_MODULE") throw error;
    return await import(pathToFileURL(path).href);
  }
}

/** A named export, the same on the default export, then (unless another name is configured) the export itself, then `main`. */
function find(exported, name) {
  const holders = [exported, exported?.default];
  for (const holder of holders) {
    if (typeof holder?.[name] === "function") return holder[name].bind(holder);
  }
  if (name !== "handler") return null;
  for (const holder of holders) {
    if (typeof holder === "function") return holder;
  }
  for (const holder of holders) {
    if (typeof holder?.main === "function") return holder.main.bind(holder);
  }
  return null;
}

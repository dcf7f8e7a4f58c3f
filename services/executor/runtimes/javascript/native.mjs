// The style of FastFN: a function of an event and the path's parameters.

import { eventOf } from "./events.mjs";

export function nativeStyle(handler) {
  return (request) => {
    const event = eventOf(request);
    return handler(event, event.params);
  };
}

// GET /counter: memory that lasts while the process does.
//
// fnbus keeps a function's process warm, so what lies outside the handler is set up once and stays. It is a cache, not
// storage: there may be several processes at once, and each may end at any time.

const startedAt = new Date().toISOString();
let calls = 0;

exports.handler = () => ({ calls: ++calls, pid: process.pid, started_at: startedAt });

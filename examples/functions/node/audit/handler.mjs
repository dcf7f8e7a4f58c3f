// POST /audit: a worker written for Cloudflare, unchanged; it is known by its default export.
//
// What `ctx.waitUntil` is given goes on after the answer. Here it prints: see `fnbus logs audit`.

export default {
  async fetch(request, env, ctx) {
    const entry = { at: new Date().toISOString(), text: await request.text() };
    ctx.waitUntil(record(entry));
    return Response.json({ accepted: entry.at }, { status: 202 });
  },
};

async function record(entry) {
  await new Promise((go) => setTimeout(go, 50)); // a slow store
  console.log(`recorded ${JSON.stringify(entry.text)}`);
}

// GET /go/docs: a short link, in TypeScript on Deno.
//
// The default export takes a web Request and returns a Response; a file of this kind needs no config.

const links: Record<string, string> = {
  docs: "https://docs.deno.com/",
  spec: "https://fetch.spec.whatwg.org/",
};

export default (request: Request): Response => {
  const name = new URL(request.url).pathname.split("/").pop() ?? "";
  if (name === "go") return Response.json(links);
  return links[name] ? Response.redirect(links[name], 302) : Response.json({ error: `no link ${name}` }, { status: 404 });
};

// GET /users/42: path parameters.
//
// Brackets in a file name are a parameter. Handlers that take a second argument get the parameters there;
// `event.params` holds them too.

const people = { 1: "Ada Lovelace", 2: "Grace Hopper", 3: "Katherine Johnson" };

exports.handler = async (event, { id }) => {
  const name = people[id];
  if (!name) {
    // `status`, `headers` and `body` make an envelope; a body that is an object becomes JSON.
    return { status: 404, body: { error: `there is no user ${id}` } };
  }
  return { id, name, path: event.path };
};

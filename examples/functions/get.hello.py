"""GET /hello?name=Ada: a greeting.

A file is a route: `get.hello.py` answers GET /hello. What the handler returns becomes the answer, a dict becomes JSON.
"""


def handler(event):
    # `event["query"]` holds the query string; a repeated key is a list.
    name = event["query"].get("name", "world")
    return {"hello": name}

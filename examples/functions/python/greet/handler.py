"""GET /greet/Ada: the version everybody gets.

A folder with a handler is a function: it answers /greet and everything below. Its sub-folder `v2` is another version of
it, called as /greet@v2, so that a new one can be tried beside the old one.
"""


def handler(event):
    name = event["params"].get("wildcard", "world")
    return f"Hello, {name}!\n"

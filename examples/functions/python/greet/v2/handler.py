"""GET /greet@v2?name=Ada: the next version, tried before it becomes the one everybody gets."""


def handler(event):
    name = event["query"].get("name", "world")
    return {"greeting": "Hello", "name": name, "version": event["context"]["version"]}

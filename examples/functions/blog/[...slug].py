"""GET /blog/2024/05/first-post: everything below a folder.

`[...slug]` takes one or more segments. A handler gets path parameters by name when it asks for them.
"""


def handler(event, slug):
    return {"slug": slug, "parts": slug.split("/")}

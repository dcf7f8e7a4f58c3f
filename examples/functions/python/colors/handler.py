"""GET /colors/ff8800: a swatch, by a WSGI application; Flask, Django and FastAPI applications run in the same way.

An object named `app` or `application` is recognised. It is mounted at the function's route: PATH_INFO is what follows.
"""

import re

NAMED = {"tomato": "ff6347", "teal": "008080"}
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="64" height="64" fill="#{}"/></svg>'


def application(environ, start_response):
    wanted = environ["PATH_INFO"].strip("/").lower()
    color = NAMED.get(wanted, wanted)
    if not wanted:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [" ".join(sorted(NAMED)).encode()]
    if not re.fullmatch("[0-9a-f]{6}", color):
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"no such color"]
    start_response("200 OK", [("Content-Type", "image/svg+xml")])
    return [SVG.format(color).encode()]

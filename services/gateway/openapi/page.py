"""Swagger UI, from files of our own: no request leaves for another host, and the page may load nothing else.

The files are those of the `fastapi-swagger` package; the page and the script that starts it are written here.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import resources

_PACKAGE = "fastapi_swagger.resources"
_KINDS = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
_START = "start.js"
_START_SCRIPT = b"""\
const place = document.currentScript.dataset;
window.addEventListener("load", () => {
  window.ui = SwaggerUIBundle({
    url: place.url,
    dom_id: "#swagger-ui",
    deepLinking: true,
    displayRequestDuration: true,
    validatorUrl: null,
  });
});
"""
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fastfn API</title>
<link rel="icon" type="image/png" href="{files}favicon-32x32.png">
<link rel="stylesheet" href="{files}swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{files}swagger-ui-bundle.js"></script>
<script src="{files}start.js" data-url="{document}"></script>
</body>
</html>
"""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'{servers}; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that the page needs."""

    data: bytes
    kind: str
    """Its media type."""
    etag: str


def page(*, files: str, document: str) -> bytes:
    """Return the page.

    Args:
        files: where its files are, relative to the page, with a `/` at the end.
        document: where the OpenAPI document is, relative to the page.
    """
    return _PAGE.format(files=escape(files), document=escape(document)).encode()


def headers(server: str = "") -> dict[str, str]:
    """Return the page's headers; requests that readers try out may go to `server`, besides where the page is from."""
    return {
        "content-security-policy": _POLICY.format(servers=f" {server}" if server else ""),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }


@cache
def file(name: str) -> File | None:
    """Return a file of the page, None when it has none of that name. Reads the disk the first time."""
    if name == _START:
        return _made(_START_SCRIPT, _KINDS["swagger-ui-bundle.js"])
    kind = _KINDS.get(name)
    return _made(resources.files(_PACKAGE).joinpath(name).read_bytes(), kind) if kind else None


def _made(data: bytes, kind: str) -> File:
    return File(data=data, kind=kind, etag=f'"{hashlib.sha256(data).hexdigest()[:32]}"')

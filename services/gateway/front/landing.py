"""The page at `/` where nobody has made another: what can be called here. Pure; it loads nothing and needs no script."""

import html
from collections.abc import Iterable
from typing import NamedTuple

MOST_ROUTES = 500
"""Routes that are listed; there may be thousands."""

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2024;--dim:#60646c;--line:#e0e1e6;--paper:#fcfcfd;--card:#fff;--accent:#0b68cb}
@media(prefers-color-scheme:dark){:root{--ink:#edeef0;--dim:#a3a8b0;--line:#2e3135;--paper:#111113;--card:#18191b;--accent:#70b8ff}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:3rem 1.25rem}h1{font-size:1.6rem;margin:0 0 .25rem;letter-spacing:-.02em}
p{color:var(--dim);margin:0 0 1.5rem}
table{width:100%;border-collapse:collapse;background:var(--card);border:1px solid var(--line)}
th,td{padding:.55rem .8rem;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
tr:last-child td{border-bottom:0}
th{font-size:.75rem;font-weight:600;color:var(--dim);text-transform:uppercase;letter-spacing:.06em}
code,td:first-child{font:.875rem/1.5 ui-monospace,monospace;overflow-wrap:anywhere}td:first-child{color:var(--dim);width:1%}
a{color:var(--accent);text-decoration:none}a:hover,a:focus-visible{text-decoration:underline}
.runtime{color:var(--dim);white-space:nowrap}footer{margin-top:1.5rem;font-size:.875rem;color:var(--dim)}
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>fnbus</title><style>{style}</style></head><body><main>
<h1>Functions</h1>
<p>{count}</p>
<table><thead><tr><th scope="col">Method</th><th scope="col">Route</th><th scope="col">Runtime</th></tr></thead>
<tbody>
{rows}
</tbody></table>
<footer>{footer}</footer>
</main></body></html>
"""

SECURITY = [
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
]


class Listed(NamedTuple):
    """A route, as it is listed."""

    pattern: str
    methods: tuple[str, ...]
    runtime: str


def page(routes: Iterable[Listed], *, docs: bool) -> bytes:
    """Return the page.

    Args:
        routes: what can be called.
        docs: whether there are pages that describe the routes.
    """
    listed = sorted(routes)
    rows = "\n".join(_row(each) for each in listed[:MOST_ROUTES])
    count = f"{len(listed)} route{'' if len(listed) == 1 else 's'} can be called here."
    if len(listed) > MOST_ROUTES:
        count += f" The first {MOST_ROUTES} are listed."
    footer = 'Try them in the <a href="/docs">API pages</a>.' if docs else "Served by fnbus."
    return _PAGE.format(style=_STYLE, count=count, rows=rows, footer=footer).encode()


def _row(route: Listed) -> str:
    pattern = html.escape(route.pattern)
    linked = "GET" in route.methods and ":" not in route.pattern and "*" not in route.pattern
    shown = f'<a href="{pattern}"><code>{pattern}</code></a>' if linked else f"<code>{pattern}</code>"
    return f'<tr><td>{", ".join(route.methods)}</td><td>{shown}</td><td class="runtime">{html.escape(route.runtime)}</td></tr>'

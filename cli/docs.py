"""`fnbus docs`: the page on which a gateway documents its functions."""

import os
import sys
import webbrowser

from cli import output
from cli.client import Address, GatewayClient
from cli.errors import CommandError

_PAGE = "/_fn/docs"
_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")


def show(*, at: Address, open_it: bool) -> int:
    """Print the page's address, and open it where there is somebody to look at it.

    Raises:
        CommandError: the gateway has no such page, or is not there.
    """
    with GatewayClient(at) as gateway:
        answer = gateway.send("GET", _PAGE)
    if answer.is_error:
        raise CommandError(f"{at.url} shows no documentation ({answer.status_code}): start it with FN_DOCS_ENABLED=1")
    page = f"{at.url.rstrip('/')}{_PAGE}"
    output.line(page)
    has_screen = sys.platform == "darwin" or any(os.environ.get(name) for name in _SCREENS)
    if open_it and has_screen and sys.stdout.isatty():
        webbrowser.open(page)
    return 0

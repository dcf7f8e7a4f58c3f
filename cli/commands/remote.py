"""What every command that talks to a gateway takes, and how that becomes an address.

A command asks for it by `@remote` and a keyword-only parameter `at`; which gateway that is, is decided in `cli.target`.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

_URL = Annotated[
    str, typer.Option("--url", metavar="URL", help="The gateway to talk to; else FNBUS_URL, else that of the profile.")
]
_TOKEN = Annotated[
    str,
    typer.Option("--token", metavar="TEXT", help="The gateway's admin token; else FNBUS_TOKEN, else that of the profile."),
]
_PROFILE = Annotated[
    str, typer.Option("--profile", metavar="NAME", help="A profile, instead of the one in use (`fnbus profile list`).")
]
_OPTIONS: dict[str, Any] = {"url": _URL, "token": _TOKEN, "profile": _PROFILE}


def remote(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options `--url`, `--token` and `--profile`; it gets the address that they mean as `at`."""
    signature = inspect.signature(command)
    own = [each for each in signature.parameters.values() if each.name != "at"]
    told = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default="", annotation=kind) for name, kind in _OPTIONS.items()
    ]

    @functools.wraps(command)
    def run(*, url: str, token: str, profile: str, **given: Any) -> None:
        from cli import target  # most runs of the command are for its help or its completion

        command(**given, at=target.choose(url=url, token=token, profile=profile))

    run.__dict__["__signature__"] = signature.replace(parameters=[*own, *told])
    run.__annotations__ = {each.name: each.annotation for each in (*own, *told)}
    return run

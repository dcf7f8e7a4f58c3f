"""What the shell offers for a function's name: those that the platform has, when one answers at once."""

import typer

from cli.errors import CommandError


def function_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names that begin so; none when nobody tells them."""
    from cli import functions, target
    from cli.client import GatewayClient

    url, token, profile = (str(ctx.params.get(name) or "") for name in ("url", "token", "profile"))
    try:
        with GatewayClient(target.choose(url=url, token=token, profile=profile)) as gateway:
            rows = functions.rows(gateway.ask("GET", "/_fn/catalog"))
    except CommandError:
        return []
    return sorted({row["name"] for row in rows if row["name"].startswith(incomplete)})

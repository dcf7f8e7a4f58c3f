"""The commands that run one service each, for machines that share the work."""

# ruff: noqa: D301  the framework reads \b (keep these lines as they are) in docstrings

import typer

app = typer.Typer()


@app.command()
def gateway() -> None:
    """Run one gateway, configured by FNBUS_* variables.

    \b
    Example:
      FNBUS_NATS_URL=nats://10.0.0.1:4222 FNBUS_HTTP_PORT=8080 fnbus gateway
    """
    from services.gateway.main import main as service

    raise typer.Exit(service())


@app.command()
def registry() -> None:
    """Run one registry, configured by FNBUS_* variables.

    \b
    Example:
      FNBUS_NATS_URL=nats://10.0.0.1:4222 FNBUS_MONGO_URL=mongodb://10.0.0.2 fnbus registry
    """
    from services.registry.main import main as service

    raise typer.Exit(service())


@app.command()
def executor() -> None:
    """Run one executor, configured by FNBUS_* variables.

    \b
    Example:
      FNBUS_NATS_URL=nats://10.0.0.1:4222 FNBUS_ISOLATION=required fnbus executor
    """
    from services.executor.main import main as service

    raise typer.Exit(service())


@app.command()
def scheduler() -> None:
    """Run one scheduler, configured by FNBUS_* variables.

    \b
    Example:
      FNBUS_NATS_URL=nats://10.0.0.1:4222 FNBUS_MONGO_URL=mongodb://10.0.0.2 fnbus scheduler
    """
    from services.scheduler.main import main as service

    raise typer.Exit(service())

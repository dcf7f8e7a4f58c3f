"""What several commands take: each option once, with its help."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="How many at most, newest first.")]
Method = Annotated[
    str | None, typer.Option("--method", "-X", help="HTTP method; chosen from the function's own when left out.")
]
Data = Annotated[str | None, typer.Option("--data", "-d", help="Body: text, @file, or - for standard input.", metavar="TEXT")]
Query = Annotated[
    list[str] | None, typer.Option("--query", "-q", help="Query parameter; may be repeated.", metavar="NAME=VALUE")
]
Header = Annotated[list[str] | None, typer.Option("--header", "-H", help="Header; may be repeated.", metavar="'NAME: VALUE'")]
DataDir = Annotated[Path, typer.Option("--data", help="Where state is kept between runs.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to serve on; 0: any free one.")]
Host = Annotated[str, typer.Option("--host", help="Address to serve on; 0.0.0.0 opens it to the network.")]
Runtime = Annotated[
    str, typer.Option("--runtime", help="Needed when functions in several languages share the name.", metavar="LANGUAGE")
]
JobId = Annotated[str, typer.Argument(help="The job's id.")]

STATE = Path(".fnbus")

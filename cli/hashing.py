"""`fnbus hash-password`: a password, typed or piped, to the hash that the gateway's settings take."""

import sys

import typer

from cli import output
from cli.errors import CommandError
from libs import passwords


def run() -> int:
    """Print the hash of a password that is typed twice, or of the first line of what is piped in."""
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise CommandError("there is no password: type it, or pipe it in")
    output.line(passwords.hashed(password))
    return 0

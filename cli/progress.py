"""How waiting looks: one line that changes on a terminal, one line per change elsewhere.

It goes to stderr, so that results stay clean.
"""

import contextlib
import sys
from collections.abc import Callable, Generator

from cli import output


@contextlib.contextmanager
def progress() -> Generator[Callable[[str], None]]:
    """Yield what shows the present state; showing the same one again changes nothing."""
    if sys.stderr.isatty():
        from rich.console import Console  # only a terminal needs it
        from rich.text import Text

        with Console(stderr=True).status("") as status:
            yield lambda text: status.update(Text(text))
        return
    last = ""

    def show(text: str) -> None:
        nonlocal last
        if text != last:
            output.remark(text)
        last = text

    yield show


@contextlib.contextmanager
def bar(what: str, *, total: int) -> Generator[Callable[[int], None]]:
    """Yield what counts steps that were done: a bar on a terminal, nothing elsewhere, where it would be noise."""
    if not sys.stderr.isatty() or not total:
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=total)
        yield lambda done: shown.advance(task, done)

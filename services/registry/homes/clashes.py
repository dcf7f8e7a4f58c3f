"""Paths that cannot all be there: one of them would be a file and a folder. Pure.

A folder could not hold them, a store could, and would then have what no folder can take over.
"""

from collections.abc import Collection, Iterator

from libs import errors


def check(put: Collection[str], *, there: Collection[str]) -> None:
    """Let pass files that can be written beside each other and beside what is there.

    Args:
        put: paths of files to be written.
        there: paths of the files that there are.

    Raises:
        errors.PermanentError: one of them cannot; the text names it.
    """
    for path in put:
        for folder in _folders(path):
            if folder in put or folder in there:
                raise errors.PermanentError(f"{folder} cannot be a file and a folder")
    new = {path for path in put if path not in there}
    if new:
        for path in there:
            for folder in _folders(path):
                if folder in new:
                    raise errors.PermanentError(f"{folder} cannot be a file and a folder")


def _folders(path: str) -> Iterator[str]:
    at = path.find("/")
    while at > 0:
        yield path[:at]
        at = path.find("/", at + 1)

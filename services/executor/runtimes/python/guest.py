"""The program of a Python worker: makes the guest package importable for itself only, says that it is ready, then serves.

It is kept this short because a main program is compiled at each start; the package beside it comes from bytecode. What serving
needs is imported once READY is on its way: most of it is done by the time that the executor has code for the worker.
"""

import sys


def main() -> None:
    """Serve on the descriptor that the last argument names, until it is closed."""
    descriptor = int(sys.argv[-1])
    del sys.argv[1:]
    folder = __file__.rpartition("/")[0]
    sys.path.insert(0, folder)
    from fnbus_guest import channel  # pyright: ignore[reportMissingImports]  found only in a worker, by the line above

    link = channel.Channel(descriptor)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    version = sys.version.partition(" ")[0]
    ready = f'{{"protocol":1,"runtime":"python","version":"{version}","read_ahead":true}}'
    link.send(channel.READY, 0, 0, ready.encode())  # pyright: ignore[reportUnknownMemberType]
    from fnbus_guest import serving  # pyright: ignore[reportMissingImports]

    sys.path.remove(folder)
    serving.main(link)  # pyright: ignore[reportUnknownMemberType]


if __name__ == "__main__":
    main()

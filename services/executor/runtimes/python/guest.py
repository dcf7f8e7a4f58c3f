"""The program of a Python worker: makes the guest package importable for itself only, then serves.

It is kept this short because a main program is compiled at each start; the package beside it comes from bytecode.
"""

import sys


def main() -> None:
    """Serve on the descriptor that the last argument names, until it is closed."""
    descriptor = int(sys.argv[-1])
    del sys.argv[1:]
    folder = __file__.rpartition("/")[0]
    sys.path.insert(0, folder)
    from fnbus_guest import serving  # pyright: ignore[reportMissingImports]  # found only in a worker, by the line above

    sys.path.remove(folder)
    serving.main(descriptor)  # pyright: ignore[reportUnknownMemberType]


if __name__ == "__main__":
    main()

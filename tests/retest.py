"""Runs the tests that failed last once more, one after the other, when they are few; says which of them are unsteady.

For continuous integration on machines that are shared: a test that passes alone is reported as unsteady, which is a fault of
its own to be mended, but not one of what it tests.
"""

import json
import subprocess
import sys
from pathlib import Path

_FAILED = Path(".pytest_cache/v/cache/lastfailed")
_MOST = 3


def main() -> int:
    """Return the exit code: 0 when all that failed passes now."""
    try:
        failed = sorted(json.loads(_FAILED.read_text()))
    except (OSError, ValueError):
        failed = []
    if not 0 < len(failed) <= _MOST:
        sys.stderr.write(f"{len(failed)} tests failed: nothing is run again\n")
        return 1
    sys.stdout.write("".join(f"run again: {name}\n" for name in failed))
    code = subprocess.run([sys.executable, "-m", "pytest", "-q", "-n", "0", *failed], check=False).returncode
    if code == 0:
        sys.stdout.write("".join(f"unsteady: {name}\n" for name in failed))
    return code


if __name__ == "__main__":
    sys.exit(main())

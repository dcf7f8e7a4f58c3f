"""What runs in a build: pip, then a compilation of all that it installed.

Workers write no bytecode and start from what they find, so the bytecode made here is the one that is never checked against
its source again. Started with pip's folder, the target, and pip's further arguments; it needs nothing of fnbus.
"""

import compileall
import os
import py_compile
import subprocess
import sys

QUIET = ("--no-input", "--disable-pip-version-check", "--no-cache-dir", "--progress-bar=off", "--root-user-action=ignore")


def main(pip: str, target: str, *arguments: str) -> int:
    """Install, compile and return pip's exit code."""
    os.makedirs(target, exist_ok=True)
    command = [sys.executable, "-I", pip, "install", *QUIET, "--no-compile", "--target", target, *arguments]
    code = subprocess.run(command, check=False).returncode
    if code == 0:
        # A package may hold files for other versions of Python, or templates: what does not compile stays as it is.
        compileall.compile_dir(target, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

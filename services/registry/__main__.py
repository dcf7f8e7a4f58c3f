"""Run the registry: `python -m services.registry`."""

import sys

from services.registry import main

if __name__ == "__main__":
    sys.exit(main.main())

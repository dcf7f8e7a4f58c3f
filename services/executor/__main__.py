"""`python -m services.executor` runs one executor."""

import sys

from services.executor.main import main

if __name__ == "__main__":
    sys.exit(main())

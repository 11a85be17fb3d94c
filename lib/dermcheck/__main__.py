"""`python -m dermcheck` is the same as `dermcheck`."""

import sys

from dermcheck.cli import main

if __name__ == "__main__":
    sys.exit(main())

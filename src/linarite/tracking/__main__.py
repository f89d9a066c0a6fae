"""``python -m linarite.tracking``."""

import sys

from linarite.tracking.command import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m linarite.training``."""

import sys

from linarite.training.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""``python -m linarite``."""

from linarite.cli.main import main

if __name__ == "__main__":
    main()

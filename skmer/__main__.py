"""Lets ``python -m skmer`` do what the command ``skmer`` does."""

import sys

from skmer.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m enginery …` is `enginery …`."""

import sys

from .cli.enginery import main

if __name__ == "__main__":
    sys.exit(main())

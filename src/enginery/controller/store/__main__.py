"""`python -m enginery.controller.store DESCRIPTOR`, which the controller runs."""

import sys

from .process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

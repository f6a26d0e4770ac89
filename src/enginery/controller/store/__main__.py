"""`python -m enginery.controller.store DESCRIPTOR`, which the controller runs."""

import os
import sys

from . import talk

NICENESS = 19
"""The least priority there is: with 10, no-op tasks on two processors were a tenth slower."""

UNUSABLE = 3
"""The exit code when trying again does not help."""


def run(argv: list[str]) -> int:
    """Serve the controller; the exit code."""
    os.nice(NICENESS)  # before the imports, which take longer than many a first call
    try:
        from .process import main
    except ModuleNotFoundError as error:  # of an installation that is older than the code
        what = f"{error}; python -m pip install '{error.name}'"
        os.write(int(argv[0]), talk.framed(talk.Wrong(what)))
        return UNUSABLE
    return main(argv)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))

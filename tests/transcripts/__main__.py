"""`python -m tests.transcripts` prints the stories; with `--update` it writes them to the files."""

import sys

from .scripts import SCRIPTS
from .stage import HERE, perform

for script in SCRIPTS:
    text = perform(script)
    if "--update" in sys.argv:
        (HERE / f"{script.__name__}.txt").write_text(text)
    else:
        print(text)

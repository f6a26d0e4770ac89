"""Runs the statements of a script one after the other, as at a prompt, and tells what they raise.

Each line of the output is JSON: the whole traceback, and the part of it below the frames.
"""

import ast
import json
import sys
import traceback
from pathlib import Path


def run(path, names):
    """Execute the file's statements with these names as their globals."""
    for statement in ast.parse(Path(path).read_text()).body:
        code = compile(ast.Module([statement], []), path, "exec")
        try:
            exec(code, names)
        except BaseException as error:
            error.__traceback__ = error.__traceback__.tb_next
            told = {
                "shown": "".join(traceback.format_exception(error)),
                "message": "".join(traceback.format_exception_only(error)),
            }
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    script = sys.argv[1]
    del sys.path[0]  # where this file is; the user's own directory stands there
    sys.path.insert(0, "")
    run(script, globals())

"""What engines were told and gave, as at their own prompts: "[0] In [2]: a" and "[0] Out[2]: 5".

In IPython the prompts have the colours of its own; where rich forms can be shown, as in a
notebook, they are.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from ...colours import colourless, shell
from .live import SHOWN, Screen

if TYPE_CHECKING:
    from ...engine.reply import ExecuteReply

GREEN, RED, RESET = "\x1b[32m", "\x1b[31m", "\x1b[0m"

PROMPT = re.compile(r"^(\[\d+\] )(In |Out)(\[\d+\]:)", re.MULTILINE)

MORE = "\n[more of this value is not shown here; the result has it: ar.get()]"


def coloured(text: str) -> str:
    """A text whose prompts have the colours of IPython's, if it uses colours here."""
    if colourless(shell()):
        return text
    return PROMPT.sub(lambda m: f"{GREEN if m[2] == 'In ' else RED}{m[0]}{RESET}", text)


def show(reply: ExecuteReply) -> None:
    """Show the input of one engine and all that it gave, in a notebook."""
    print(coloured(f"[{reply.engine}] In [{reply.number}]: {reply.raw.rstrip()}"))
    with closing(Screen()) as screen:
        if reply.stdout:
            screen.write(reply.engine, "stdout", reply.stdout)
        for shown in reply.outputs:
            screen.display(reply.engine, shown)
    value(reply)


def value(reply: ExecuteReply) -> None:
    """Show the value of one engine, if its code has one."""
    if not reply.data:
        return
    ipython = shell()
    prompt = coloured(f"[{reply.engine}] Out[{reply.number}]:")
    if os.environ.get("ENGINERY_PREFIX") == "0":
        prompt = prompt.replace(f"[{reply.engine}] ", "", 1)
    active = set(ipython.display_formatter.active_types) if ipython else set()
    if active & set(reply.data) - {"text/plain"}:
        print(prompt)
        sys.stdout.flush()
        ipython.display_pub.publish(data=reply.data, metadata=reply.data_metadata)
        return
    text = reply.result
    if len(text) > SHOWN:
        text = text[:SHOWN] + MORE
    print(f"{prompt}{chr(10) if chr(10) in text else ' '}{text}", flush=True)

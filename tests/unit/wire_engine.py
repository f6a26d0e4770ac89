"""Runs the cases of wire_script as an engine would: a fresh `__main__` for each."""

import pickle
import sys
from types import ModuleType

from enginery.core.messages import Buffer
from enginery.wire import functions, payload
from enginery.wire.failure import Failure


def run(before, blob, data, buffers):
    main = sys.modules["__main__"] = ModuleType("__main__")
    exec(before, main.__dict__)
    kind, withheld = "load", {}
    try:
        function = functions.load(blob)
        withheld = function.withheld
        loaded = payload.loads(data, [Buffer(buffer) for buffer in buffers])
        for name, value in (loaded.names | function.names).items():
            main.__dict__.setdefault(name, value)
        kind = "call"
        args, kwargs = loaded.value
        value = function.call(*args, **kwargs)
    except BaseException as error:
        value = Failure.capture(error, kind=kind, withheld=withheld)
        function = None
    data, buffers = payload.dumps(value, lend=False)
    about = (function.stores, function.live, set(function.names)) if function else None
    return (data, [bytes(buffer.data) for buffer in buffers]), about


answers = {name: run(*case) for name, case in pickle.load(sys.stdin.buffer).items()}
pickle.dump(answers, sys.stdout.buffer)

"""concurrent.futures.ProcessPoolExecutor."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial

from . import calling, carrying, mapping, no_servers, searching, submitting

submitter = partial(submitting, ProcessPoolExecutor)
mapper = partial(mapping, ProcessPoolExecutor)
servers = no_servers
caller = partial(calling, submitter)
carrier = partial(carrying, submitter)
searcher = partial(searching, mapper)

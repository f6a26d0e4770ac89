"""The hub database: what became of tasks, kept by a process of its own.

`process` is that process. It follows the journal (`tail`), makes rows of its entries (`rows`),
writes them (`filler`) and answers questions (`answers`). The controller knows only `child`, which
imports no SQLAlchemy, and the protocol of the two (`talk`).
"""

"""Large buffers between processes of one host: written once, and mapped by whoever needs them.

The sender writes into a sealed memory file (memfd) and sends a reference to it; the receiver opens
it through `/proc` and maps it read-only. Nobody can write there any more but its owner, who does
so again only when nobody looks at it: first touching fresh pages costs several times what a copy
into pages does that are there already. Who looks at one holds a shared lock on it, which lives as
long as the last view and dies with the process; the owner must get an exclusive one. Nothing has a
name in a file system, so nothing can be left behind.

Pages are slow to bring into a mapping, too, so a receiver keeps what it has mapped for a moment.

    raw        addresses: mapping, copying, comparing
    segments   one memory file: making, sealing, filling; opening that of another process
    arena      those of this process, which are used again
    windows    those of other processes, which stay mapped for a moment
    probe      who shares the host
    peer       what engines and clients lend and borrow
    keeper     what the controller holds
"""

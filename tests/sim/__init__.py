"""The deterministic simulator: a whole cluster in one thread, in virtual time, out of one seed.

Everything that decides in enginery is a pure machine (`enginery.core`): events in, effects out.
Here the real machines of a controller, its engines, supervisors and clients are joined by an
invented network and an invented operating system, and everything that can go wrong does. Whatever
looks like chance comes from one `random.Random(seed)`, so a seed is a whole history: the same seed
gives the same trace, and a failing one is replayed with `python -m tests.sim SEED --trace`.

Read in this order:

* `network`: virtual time, and connections as TCP has them: in order, with delays; when one is cut,
  an unknown suffix of each direction is lost; a reconnection is a new connection; the two ends
  learn of it at different times, maybe late;
* `nodes`, `peers`: processes. Each drives one real machine as the real process does, and can be
  killed, frozen and restarted. `strangers`: an engine that lies;
* `cluster`: nodes and network together. The transcripts (`tests/transcripts`) play on the same
  stage, with a script instead of chance;
* `settings`: what a seed draws: sizes, limits, schemes, and which faults exist at all, at what rate
  (swarm testing: a run without cuts finds what a run full of cuts hides);
* `workload` and `faults`: what users do, and what happens to them;
* `ledger`: the promises, checked: each task ends once, is told once, starts at most 1 + retries
  times, ...;
* `world`: one run, from the seed to the verdict. Faults stop at some time. Then all must come to
  rest: nothing lost, nothing left over in any memory;
* `mutants`: bugs made by hand, to see that the simulator would find them.
"""

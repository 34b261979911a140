"""Feed damaged input to everything that reads files, and count what happens.

    python -m tests.fuzz --area tflite --seconds 60      # a table; exit code 1 if anything failed
    python -m tests.fuzz --area tflite --case 1234       # run one case again, in this process

Each area is one module of this folder, listed in `AREAS`.  An area module has:

`KINDS: tuple[str, ...]`
    The names of its mutations.  The table has one row for each.
`prepare(folder: Path) -> None`
    Write the valid files that cases are made from.  Called once, before any worker starts.  It may
    take seconds and import TensorFlow.
`load(folder: Path) -> Any`
    Read these files.  Called once in each worker; its result is passed on as `seeds`.
`mutate(kind: str, rng: random.Random, seeds: Any) -> Any`
    Make one case.  The same `rng` must give the same case.
`run(case: Any, seeds: Any) -> bool`
    Read the case as a user would.  Return whether the result is the same as for the undamaged file.
    Raise an AlbertEdgeError where the case is refused.
`FORBIDS_OTHER_RESULTS: frozenset[str]` (optional)
    The kinds for which a different result is a failure.
`LIMIT_S: float` (optional, default 10) and `MEMORY_BYTES: int` (optional, default 4 GiB)
    What one case may take in a worker.

What can happen to a case:

refused     an AlbertEdgeError; the right thing
same        the result of the undamaged file
different   another result
crashed     the process died (failure)
hung        it took longer than the limit (failure)
foreign     an exception that is not an AlbertEdgeError (failure)

Cases run in worker processes, which are replaced when they die.  A case is named by its number
alone: the number seeds `rng` and chooses the kind.
"""

"""Kill what writes files, at a random write, and go on: convert, finetune, pretrain, ...

A case runs one verb in a child process, which is forked after TensorFlow's import and is killed at
one of its writes, renames, links, removals or syncs; every second one in the middle of a write.
Then every output must be the old one or one that an uninterrupted run writes, as a whole, and the
run that goes on must end with the uninterrupted run's output, byte for byte.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

KINDS = ("convert/tflite", "convert/huggingface", "finetune", "pretrain", "compress", "benchmark")
LIMIT_S = 600.0
MEMORY_BYTES = 1 << 42  # a limit of addresses, of which TensorFlow reserves many
_DATA = Path(__file__).parents[1] / "data" / "written_by_0_1"
OLD = _DATA / "checkpoints" / "huggingface"
TABLE, TEXT, INTERRUPTED = _DATA / "rows.tsv", _DATA / "text.txt", _DATA / "interrupted"
_ROWS = "rows.tsv"
_WRITES = ("open", "os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.chmod")
# Files that TensorBoard's writer, or a benchmark's clock, makes anew in every run.
_VARYING = ("logs", "report.json")


class Case(NamedTuple):
    """Where a verb is killed: `share` of its writes are done; `torn`: in the middle of one."""

    kind: str
    share: float
    torn: bool


class Reference(NamedTuple):
    """An uninterrupted run: the number of its writes, and the digests of what it ever leaves."""

    calls: int
    whole: frozenset[str]
    final: str
    old: str


def prepare(folder: Path) -> None:
    """Make nothing: a worker runs a verb without interruption when it first needs it."""


def load(folder: Path) -> Callable[[str], Reference]:
    """Import everything, so that a fork runs at once; no operation may run before it."""
    import tensorflow as tf

    import albert_edge.cli
    import albert_edge.cli.benchmark
    import albert_edge.conversion
    import albert_edge.training.compression.compress
    import albert_edge.training.finetune_files
    import albert_edge.training.pretraining.pretrain_files  # noqa: F401

    tf.config.run_functions_eagerly(True)  # a trace takes ten times as long as all steps
    return cache(partial(_reference, folder))


def mutate(kind: str, rng: random.Random, seeds: Any) -> Case:
    return Case(kind, rng.random(), rng.random() < 0.5)


def run(case: Case, seeds: Callable[[str], Reference]) -> bool:
    known = seeds(case.kind)
    with tempfile.TemporaryDirectory() as folder:
        work, verb = Path(folder), _VERBS[case.kind]
        _begin(work, case.kind)
        at = 1 + int(case.share * known.calls)
        where = f"killed at {at} of {known.calls}"
        code, *_ = _fork(partial(verb, work), log=work / "log", kill_at=at, torn=case.torn)
        _check(code == -signal.SIGKILL, f"not {where}: {_end_of(work)}")
        left = _digest(work, case.kind)
        _check(left in known.whole, f"{where}: neither old nor new")
        resume = (work / "out.training").exists() or (work / "out" / "training.npz").exists()
        if case.kind == "benchmark":
            resume = left != known.old
        if left != known.final or resume:
            code, *_ = _fork(partial(verb, work, resume=resume), log=work / "log")
            _check(code == 0, f"{where}: does not go on (exit code {code}): {_end_of(work)}")
        _check(_digest(work, case.kind) == known.final, f"{where}: ends with another output")
        names = {path.name for path in work.iterdir()} - {"log", _ROWS}
        if left != known.final:
            _check(names <= {"out", "out.tflite", "report.json"}, f"{where}: left behind: {names}")
    return left == known.final


def _end_of(work: Path) -> str:
    return (work / "log").read_text(errors="replace")[-2000:]


def _check(right: bool, message: str) -> None:
    if not right:
        raise AssertionError(message)


def _begin(work: Path, kind: str) -> None:
    """Write the training table, of two batches, and what an earlier run left, to be replaced."""
    (work / _ROWS).write_text("".join(TABLE.read_text().splitlines(keepends=True)[:17]))
    if kind == "convert/tflite":
        (work / "out.tflite").write_bytes(b"old")
    elif kind != "benchmark":
        shutil.copytree(OLD, work / "out")


def _reference(folder: Path, kind: str) -> Reference:
    place = folder / kind.replace("/", "-")
    place.mkdir(exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=place))
    _begin(work, kind)
    old = _digest(work, kind)
    watch = partial(_digest, work, kind)
    code, calls, digests = _fork(partial(_VERBS[kind], work), log=work / "log", watch=watch)
    _check(code == 0, _end_of(work))
    final = _digest(work, kind)
    return Reference(calls, frozenset({old, final, *digests}), final, old)


def _digest(work: Path, kind: str) -> str:
    """Return the digest of an output; of a report, which varies, whether it can be read."""
    digest = hashlib.sha256()
    for path in sorted(work.glob("out*")):
        parts = [path] if path.is_file() else sorted(path.iterdir())
        for part in parts:
            relative = part.relative_to(work)
            state = part.name in ("out.training", "training.npz", "curve.jsonl")
            if part.is_file() and not state and part.name[0] != ".":
                digest.update(f"{relative}\n".encode() + hashlib.sha256(part.read_bytes()).digest())
    if kind == "benchmark" and (work / "report.json").exists():
        rows = json.loads((work / "report.json").read_text())["rows"]
        digest.update(f"{len(rows)} rows".encode())
    return digest.hexdigest()


def _fork(
    verb: Callable[[], object],
    *,
    log: Path,
    kill_at: int = 0,
    torn: bool = False,
    watch: Callable[[], str] | None = None,
) -> tuple[int, int, list[str]]:
    """Run a verb in a child: its exit code, the number of its writes, and digests between them.

    What it prints on standard error goes to `log`.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        code, killer = 1, _Killer(kill_at, torn=torn, watch=watch)
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
            killer.install()
            verb()
            code = 0
        except SystemExit as error:
            code = int(error.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            killer.active = False
            with os.fdopen(writer, "w") as pipe:
                json.dump([killer.calls, sorted(killer.seen)], pipe)
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        calls, seen = json.loads(pipe.read() or "[0, []]")
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), calls, seen


class _Killer:
    """Counts a process's writes, and kills it at one of them."""

    def __init__(self, kill_at: int, *, torn: bool, watch: Callable[[], str] | None) -> None:
        self.calls, self.seen, self.active = 0, set[str](), True
        self._kill_at, self._torn, self._watch = kill_at, torn, watch

    def install(self) -> None:
        sync = os.fsync

        def fsync(handle: int) -> None:
            self._count(handle)
            sync(handle)

        os.fsync = fsync
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _WRITES or not self.active:
            return
        if event == "open":
            path, _, flags = arguments
            if not flags & (os.O_WRONLY | os.O_RDWR) or str(path).startswith(("/dev", "/proc")):
                return
        self._count(None)

    def _count(self, handle: int | None) -> None:
        if not self.active:
            return
        self.calls += 1
        if self._watch is not None:
            self.active = False
            self.seen.add(self._watch())
            self.active = True
        if self.calls == self._kill_at:
            if self._torn and handle is not None and (size := os.fstat(handle).st_size) > 1:
                self.active = False
                with contextlib.suppress(OSError):  # a folder
                    os.ftruncate(handle, size // 2)
            os.kill(os.getpid(), signal.SIGKILL)


def _main(*arguments: object) -> None:
    from albert_edge.cli import main

    sys.argv = ["albert-edge", *map(str, arguments)]
    main()


def _convert(work: Path, *, resume: bool = False, to: str = "tflite") -> None:
    output = work / ("out.tflite" if to == "tflite" else "out")
    _main("convert", INTERRUPTED / "trained", "-o", output, "--to", to, "--force")


def _options() -> Any:
    from albert_edge.training.options import FinetuneOptions

    return FinetuneOptions(epochs=2, max_length=32, batch_tokens=256)


def _finetune(work: Path, *, resume: bool = False) -> None:
    from albert_edge.training.finetune_files import finetune_files

    source, again = str(INTERRUPTED / "classifier"), {"resume": resume, "force": not resume}
    finetune_files(
        work / _ROWS, work / "out", source=source, options=_options(), save_every_s=0.0, **again
    )


def _pretrain(work: Path, *, resume: bool = False) -> None:
    from albert_edge.training.pretraining.options import PretrainOptions
    from albert_edge.training.pretraining.pretrain_files import pretrain_files

    options = PretrainOptions(
        steps=4, batch_size=4, max_length=16, examine_every=2, save_every_s=0.0, warm_up=0.1
    )
    source, again = str(INTERRUPTED / "encoder"), {"resume": resume, "force": not resume}
    pretrain_files([TEXT], work / "out", source=source, options=options, **again)


def _compress(work: Path, *, resume: bool = False) -> None:
    from albert_edge.training.compression import compress
    from albert_edge.training.compression.methods import Prune

    compress.compression_report = lambda *_, **__: {}  # written before it, and slow to make
    again = {"resume": resume, "force": not resume}
    compress.compress_files(
        str(INTERRUPTED / "trained"),
        work / _ROWS,
        work / "out",
        method=Prune(),
        options=_options(),
        save_every_s=0.0,
        **again,
    )


def _benchmark(work: Path, *, resume: bool = False) -> None:
    how = ("--rounds", 2, "--runs", 1, "--min-time", 0, "--seq-len", "8,16")
    again = ["--resume"] if resume else ["--force"]
    file = _DATA / "files" / "float32_loop.tflite"
    _main("benchmark", file, *how, "--json", work / "report.json", *again)


_VERBS: dict[str, Callable[..., None]] = {
    "convert/tflite": _convert,
    "convert/huggingface": partial(_convert, to="huggingface"),
    "finetune": _finetune,
    "pretrain": _pretrain,
    "compress": _compress,
    "benchmark": _benchmark,
}

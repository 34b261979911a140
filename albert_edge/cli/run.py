"""`albert-edge run`: text in, answers out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import chain
from typing import Any

import click

from albert_edge.cli.options import json_option
from albert_edge.errors import AlbertEdgeError, InputError

__all__ = ["command"]


@click.command(short_help="Answer text with a .tflite file.")
@click.argument("model")
@click.argument("text", required=False)
@click.option("--question", metavar="Q", help="What to answer from TEXT (question answering).")
@click.option("--pair", metavar="TEXT", help="A second text, for models that compare two.")
@click.option("--allow-null", is_flag=True, help='Take "no answer" for an answer (SQuAD 2 models).')
@click.option("--ids", is_flag=True, help="TEXT is token ids, for files without a tokenizer.")
@click.option(
    "--threads", type=click.IntRange(1), default=1, show_default=True, help="CPU threads."
)
@json_option
def command(
    model: str,
    text: str | None,
    question: str | None,
    pair: str | None,
    allow_null: bool,
    ids: bool,
    threads: int,
    as_json: bool,
) -> None:
    """Answer TEXT with MODEL, or every line of standard input without TEXT.

    MODEL is a .tflite file, or "default" for the embedded sentiment model.  With --json, every
    answer is one JSON document on a line of its own.

    \b
    albert-edge run default "a quiet, moving film"
    albert-edge run qa.tflite "Ada wrote it in 1843." --question "Who wrote it?"
    albert-edge run model.tflite --json < reviews.txt > answers.jsonl
    albert-edge run shape.tflite --ids "2 48 25 21 1289 3"
    """
    from albert_edge.cli.progress import quiet
    from albert_edge.pipelines import load

    with quiet():
        pipe = load(model, threads=threads)
        answers_questions = pipe.model.bundle.task == "question-answering"
        if answers_questions != (question is not None) and not ids:
            needs = "needs --question" if answers_questions else "does not take --question"
            raise click.UsageError(f"{model} is for {pipe.model.bundle.task}: it {needs}.")
        options: dict[str, Any] = {"allow_null": allow_null} if answers_questions else {}
        for where, line in _lines() if text is None else [("", text)]:
            try:
                inputs = _ids(line) if ids else _texts(line, question, pair)
                answer = pipe(**inputs, **options)
            except AlbertEdgeError as error:
                raise type(error)(f"{where}{error}") from error
            click.echo(json.dumps(_plain(answer)) if as_json else _sentence(answer))


def _lines() -> Iterator[tuple[str, str]]:
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield f"line {number}: ", line.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError(f"line {number} is not UTF-8: {error}.") from error


def _texts(text: str, question: str | None, pair: str | None) -> dict[str, Any]:
    if question is not None:
        return {"question": question, "context": text}
    return {"text": text, "pair": pair}


def _ids(text: str) -> dict[str, Any]:
    # "2 48 3 | 21 1289 3": the ids behind the bar are of type 1.
    segments = text.split("|")
    try:
        ids = [[int(word) for word in segment.split()] for segment in segments]
    except ValueError as error:
        raise InputError(f"--ids takes whole numbers such as '2 48 25 3': {error}.") from error
    types = [kind for kind, segment in enumerate(ids) for _ in segment]
    return {"input_ids": list(chain(*ids)), "token_type_ids": types}


def _plain(answer: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.tolist() if hasattr(value, "tolist") else value
        for name, value in answer.items()
    }


def _sentence(answer: dict[str, Any]) -> str:
    if "label" in answer:
        cut = "  (only the beginning was read)" if answer["truncated"] else ""
        return f"{answer['label']}  {answer['score']:.3f}{cut}"
    if "answer" in answer:
        return f"{answer['answer'] or '(no answer)'}  {answer['score']:.3f}"
    shapes = (
        f"{name} {'x'.join(map(str, value.shape))}"
        for name, value in answer.items()
        if hasattr(value, "shape")
    )
    return ", ".join(shapes) + "  (--json prints the values)"

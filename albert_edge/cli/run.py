"""`albert-edge run`: run a file on text and print the results."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Any

import click

from albert_edge.cli import quiet_stderr
from albert_edge.cli.options import accelerator_option, json_option, options_from
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import AlbertEdgeError, InputError, printable, printable_values
from albert_edge.files import dump_json
from albert_edge.tasks import TASKS

# What a model of embeddings takes besides the options of its pipeline.
_NEAREST = ("nearest_in", "top_k")


class ThreadCount(click.IntRange):
    """A number, or `auto`."""

    name = "number of threads, or auto"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return value if value == "auto" else super().convert(value, param, ctx)


@click.command()
@click.argument("model")
@click.argument("text", required=False)
@click.option("--question", metavar="Q", help="Question to answer from TEXT (question answering).")
@click.option("--pair", metavar="TEXT", help="Second text, for models that take two.")
@click.option(
    "--top-k",
    type=click.IntRange(1),
    metavar="N",
    help="Number of candidates or answers to return.",
)
@click.option("--entities", is_flag=True, help="Merge labelled words (B-PER, I-PER) into entities.")
@click.option(
    "--pooling",
    type=click.Choice(["mean", "cls", "pooler"]),
    help="Pool TEXT into one vector.",
)
@click.option("--normalize", is_flag=True, help="Scale that vector to unit length.")
@click.option(
    "--nearest-in",
    metavar="FILE",
    help="Find the lines of FILE that are nearest in meaning; their vectors are kept in "
    "FILE.vectors.",
)
@click.option("--allow-null", is_flag=True, help='Allow "no answer" as the answer (SQuAD 2).')
@click.option(
    "--task",
    "use",
    type=click.Choice(["summarize"]),
    help="Summarize TEXT, or all of standard input; also with an encoder without a task.",
)
@click.option("--bullets", type=click.IntRange(1), metavar="N", help="Sentences in the summary.")
@click.option(
    "--redundancy",
    type=click.FloatRange(0, 1),
    metavar="X",
    help="Penalty for similarity to sentences already chosen, from 0 to 1 (MMR).",
)
@options_from(EvaluateOptions(), "patience", "threshold", "max_layers")
@click.option("--ids", is_flag=True, help="TEXT holds token ids; for files without a tokenizer.")
@click.option("--skip-bad", is_flag=True, help="Skip and count lines that cannot be read.")
@click.option(
    "--threads",
    type=ThreadCount(1),
    default=1,
    metavar="N|auto",
    help="CPU threads; auto measures which number is fastest.",
)
@accelerator_option
@click.option(
    "--check/--no-check",
    default=True,
    help="Check that the file is as it was written, and its graph, before running it.",
)
@click.option(
    "--isolated",
    is_flag=True,
    help="Run the model in a child process that may crash; with --ids also models of any origin.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    show_default="10; on a GPU, 600",
    help="Seconds that an isolated call, or one on a GPU, may take.",
)
@json_option
def command(
    model: str,
    text: str | None,
    question: str | None,
    pair: str | None,
    use: str | None,
    nearest_in: str | None,
    ids: bool,
    skip_bad: bool,
    threads: int | str,
    accelerator: str,
    check: bool,
    isolated: bool,
    time_limit: float | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Run MODEL on TEXT, or on every line of standard input if TEXT is left out.

    MODEL is a .tflite file, or an embedded model: "default" (sentiment), "questions" or
    "embeddings".  Of question answering all of standard input is the passage.  With --json, every
    result is one JSON document on its own line.

    \b
    albert-edge run default "a quiet, moving film"
    albert-edge run questions "Ada wrote it in 1843." --question "Who wrote it?"
    albert-edge run questions --question "Who wrote it?" --allow-null < article.txt
    albert-edge run embeddings "Where is my card?" --nearest-in questions.txt --top-k 3
    albert-edge run words.tflite "Paris is the [MASK] of France." --top-k 3
    albert-edge run names.tflite "Ada met Charles in London." --entities
    albert-edge run encoder.tflite "a quiet film" --pooling mean --normalize --json
    albert-edge run model.tflite --task summarize --bullets 3 < article.txt
    albert-edge run model.tflite --json < reviews.txt > answers.jsonl
    albert-edge run gpu.tflite "a quiet, moving film" --accelerator gpu
    albert-edge run shape.tflite --ids "2 48 25 21 1289 3"
    albert-edge run foreign.tflite --isolated --ids "2 48 25 21 1289 3"
    """
    from albert_edge.bundle.bundle import has_bundle
    from albert_edge.pipelines import load

    text, question, pair = map(_argument, (text, question, pair))

    given = {k: value for k, value in options.items() if value is not None and value is not False}
    with quiet_stderr() as terminal:
        random: dict[str, str] = {}
        whole = False
        how: Any = {"threads": threads, "check": check, "time_limit_s": time_limit}
        show: Callable[[dict[str, Any]], str] = _format
        if isolated and ids and not has_bundle(model):
            from albert_edge.runtime.isolated import run_foreign

            pipe: Any = partial(run_foreign, model, **how)
            show = _format_shapes
        else:
            pipe = load(model, task=use, isolated=isolated, accelerator=accelerator, **how)
            task = "summarization" if use else pipe.model.bundle.task
            named = given if nearest_in is None else {**given, "nearest_in": nearest_in}
            _check_usage(f"{model} is for {task}", task, question, pair, named, ids)
            whole = use is not None or (task == "question-answering" and not ids)
            random = _warn_of_random(pipe.model.bundle.provenance, model, terminal)
            if (acceleration := pipe.model.acceleration) is not None:
                from albert_edge.cli.console import describe_acceleration

                click.echo(describe_acceleration(acceleration.to_dict()), file=terminal)
            if nearest_in is not None:
                pipe = _nearest(pipe, nearest_in, given.pop("pooling", "mean"), terminal)
        skipped = []
        for where, line in _given(text, whole=whole):
            try:
                decoded = _decoded(line)
                inputs = _ids(decoded) if ids else _texts(decoded, question, pair)
                result = pipe(**inputs, **given)
            except AlbertEdgeError as error:
                if not (skip_bad and isinstance(error, InputError)):
                    raise type(error)(f"{where}{error}") from error
                skipped.append(f"{where}{error}")
                continue
            click.echo(dump_json({**_plain(result), **random}) if as_json else show(result))
    if skipped:
        click.echo(f"{len(skipped)} skipped; the first: {printable(skipped[0])}", err=True)


def _nearest(pipe: Any, path: str, pooling: str, terminal: Any) -> Callable[..., dict[str, Any]]:
    """Return a function from a text to the lines of a file that are nearest to it."""
    from rich.progress import track

    from albert_edge.cli.console import console_on
    from albert_edge.pipelines.nearest import index_lines

    def progress(lines: list[str]) -> Any:
        what, console = f"Encoding {len(lines):,} lines", console_on(terminal)
        hidden = not console.is_terminal
        return track(lines, what, console=console, transient=True, disable=hidden)

    index = index_lines(pipe, path, pooling=pooling, progress=progress)
    if index.problem:
        click.echo(f"The vectors are not kept: {printable(index.problem)}", file=terminal)

    def find(*, top_k: int = 1, **inputs: Any) -> dict[str, Any]:
        result = pipe(**inputs, pooling=pooling, normalize=True)
        return {
            "nearest": index.nearest(result["embedding"], top_k),
            "truncated": result["truncated"],
        }

    return find


def _warn_of_random(provenance: Mapping[str, Any], model: str, terminal: Any) -> dict[str, str]:
    """Print a warning if weights of the file are random; return what JSON reports of it."""
    if not (drawn := provenance.get("drawn")):
        return {}
    from albert_edge.cli.console import random_part

    part = random_part(drawn)
    which = "all weights are" if part == "all" else "the head is"
    click.echo(f"{printable(model)}: {which} random: the results mean nothing.", file=terminal)
    return {"random_weights": part}


def _check_usage(
    model: str,
    task: str,
    question: str | None,
    pair: str | None,
    options: Mapping[str, Any],
    ids: bool,
) -> None:
    if task == "question-answering" and question is None and not ids:
        raise click.UsageError(f"{model}, which needs --question.")
    texts = {"question": question, "pair": pair}
    takes = TASKS[task].options
    if task == "feature-extraction":
        takes = (*takes, *_NEAREST)
    given = [*options, *(name for name, value in texts.items() if value is not None)]
    if task == "feature-extraction" and "top_k" in options and "nearest_in" not in options:
        raise click.UsageError("--top-k needs --nearest-in FILE for a model of embeddings.")
    if foreign := [name for name in given if name not in takes]:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in foreign)
        raise click.UsageError(f"{model}, which does not take {flags}.")


def _argument(text: str | None) -> str | None:
    """Decode an argument as UTF-8 that Python did not decode, as the locale is C."""
    if text is None or not any("\udc80" <= character <= "\udcff" for character in text):
        return text
    return os.fsencode(text).decode("utf-8", "surrogateescape")


def _given(text: str | None, *, whole: bool) -> Iterator[tuple[str, str | bytes]]:
    if text is not None:
        yield "", text
        return
    try:
        if whole:
            yield "standard input: ", sys.stdin.buffer.read()
            return
        for number, line in enumerate(sys.stdin.buffer, 1):
            yield f"line {number}: ", line.rstrip(b"\r\n")
    except OSError as error:
        raise InputError(f"cannot read standard input: {error.strerror}.") from error


def _decoded(content: str | bytes) -> str:
    try:
        return content if isinstance(content, str) else content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"the text is not UTF-8: {error}.") from error


def _texts(text: str, question: str | None, pair: str | None) -> dict[str, Any]:
    if question is not None:
        return {"question": question, "context": text}
    return {"text": text} if pair is None else {"text": text, "pair": pair}


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


def _format(result: dict[str, Any]) -> str:
    answer = printable_values(_one_line_bullets(result))
    if "answer" in answer:
        found = answer.get("answers", [answer])
        lines = [f"{one['answer'] or '(no answer)'}  {one['score']:.3f}" for one in found]
        return "\n".join(lines) + _layers(answer)
    if "bullets" in answer:
        return _format_bullets(answer)
    lines = [format_(answer) for part, format_ in _PARTS.items() if part in answer]
    cut = "  (the text was truncated)" if answer["truncated"] else ""
    return "\n".join(lines) + cut


def _format_bullets(answer: dict[str, Any]) -> str:
    lines = [f"- {one['text']}" for one in answer["bullets"]]
    cut = "; the longest were truncated" if answer["truncated"] else ""
    return "\n".join([*lines, f"({answer['sentences']} sentences were read{cut})"])


def _one_line_bullets(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the result with every sentence of a summary on one line."""
    if "bullets" not in answer:
        return answer
    texts = [one["text"] for one in answer["bullets"]]
    lines = [" ".join(text.split() if isinstance(text, str) else map(str, text)) for text in texts]
    return {**answer, "bullets": [{"text": line} for line in lines]}


def _format_words(answer: dict[str, Any]) -> str:
    found = answer.get("entities", answer["words"])
    words = "  ".join(f"{one['text']} [{one['label']} {one['score']:.3f}]" for one in found)
    return words + _layers(answer)


def _format_masks(answer: dict[str, Any]) -> str:
    return "\n".join(
        f"{one['score']:.3f}  {one['token']:<15} {one.get('text', '')}".rstrip()
        for mask in answer["masks"]
        for one in mask["candidates"]
    )


def _format_order(answer: dict[str, Any]) -> str:
    return f"{answer['order']['label']}  {answer['order']['score']:.3f}"


def _format_shapes(answer: dict[str, Any]) -> str:
    shapes = (
        f"{name} {'x'.join(map(str, value.shape))}"
        for name, value in answer.items()
        if hasattr(value, "shape")
    )
    return ", ".join(shapes) + "  (--json prints the values)"


def _layers(answer: dict[str, Any]) -> str:
    if "layers_used" not in answer:
        return ""
    count = answer["layers_used"]
    return "  after 1 layer" if count == 1 else f"  after {count:.3g} layers"


# Key of a result → the function that formats it.
_PARTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "label": lambda answer: f"{answer['label']}  {answer['score']:.3f}{_layers(answer)}",
    "labels": lambda answer: (
        "  ".join(f"{label} {answer['scores'][label]:.3f}" for label in answer["labels"])
        or "(no label)"
    ),
    "value": lambda answer: f"{answer['value']:.4f}",
    "values": lambda answer: "  ".join(f"{k} {v:.4f}" for k, v in answer["values"].items()),
    "words": _format_words,
    "masks": _format_masks,
    "order": _format_order,
    "nearest": lambda answer: "\n".join(
        f"{one['score']:.3f}  line {one['line']}: {one['text']}" for one in answer["nearest"]
    ),
    "last_hidden_state": _format_shapes,
}

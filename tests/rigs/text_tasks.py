"""The child process that gives texts to one of Google's libraries: `text_tasks.py FOLDER`.

It needs mediapipe or tflite-support, and nothing of this project. The request has `library`, `task`
(`classifier`, `embedder` or `answerer`), `file`, and `texts` or, for an answerer, `pairs` of a
question and a passage. The answer has `results`, one for each: the score of every label; a vector;
or the answers, the best first, with their text, their first and last token and the sum of their
logits.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(folder: Path) -> None:
    """Read `request.json`; write `answer.json`."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    ask = _mediapipe if request["library"] == "mediapipe" else _task_library
    results, error = [], ""
    try:
        results = ask(request)
    except (RuntimeError, ValueError) as refused:
        error = f"{type(refused).__name__}: {refused}"
    (folder / "answer.json").write_text(json.dumps({"error": error, "results": results}))


def _mediapipe(request: dict[str, Any]) -> list[Any]:
    from mediapipe.tasks.python import BaseOptions, text

    base = BaseOptions(model_asset_path=request["file"])
    if request["task"] == "classifier":
        options = text.TextClassifierOptions(base_options=base)
        with text.TextClassifier.create_from_options(options) as classifier:
            return [_scores(classifier.classify(one)) for one in request["texts"]]
    with text.TextEmbedder.create_from_options(
        text.TextEmbedderOptions(base_options=base)
    ) as embedder:
        vectors = [embedder.embed(one).embeddings[0].embedding for one in request["texts"]]
    return [vector.tolist() for vector in vectors]


def _task_library(request: dict[str, Any]) -> list[Any]:
    from tflite_support.task import core, text

    base = core.BaseOptions(file_name=request["file"])
    if request["task"] == "classifier":
        classifier = text.BertNLClassifier.create_from_options(
            text.BertNLClassifierOptions(base_options=base)
        )
        return [_scores(classifier.classify(one)) for one in request["texts"]]
    if request["task"] == "embedder":
        embedder = text.TextEmbedder.create_from_options(
            text.TextEmbedderOptions(base_options=base)
        )
        found = [embedder.embed(one).embeddings[0] for one in request["texts"]]
        return [one.feature_vector.value.tolist() for one in found]
    answerer = text.BertQuestionAnswerer.create_from_options(
        text.BertQuestionAnswererOptions(base_options=base)
    )
    return [
        [
            {
                "text": one.text,
                "first": one.pos.start,
                "last": one.pos.end,
                "logit": one.pos.logit,
            }
            for one in answerer.answer(passage, question).answers
        ]
        for question, passage in request["pairs"]
    ]


def _scores(found: Any) -> dict[str, float]:
    return {one.category_name: one.score for one in found.classifications[0].categories}


if __name__ == "__main__":
    main(Path(sys.argv[1]))

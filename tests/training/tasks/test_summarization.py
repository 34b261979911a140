"""A tiny model learns which sentence sums up an article, and says so as a file."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from albert_edge.config import AlbertConfig
from albert_edge.conversion import convert
from albert_edge.datasets.examples import Examples, read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import TrainingError
from albert_edge.evaluation.rouge import rouge
from albert_edge.modeling import from_checkpoint
from albert_edge.pipelines import load
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.training.finetune import finetune
from albert_edge.training.init import init_from_scratch
from albert_edge.training.objective import IGNORE_INDEX
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.tasks.summarization import SummarizationObjective

_WORDS = ("mill", "river", "storm", "road", "widow", "wheel", "oak", "roof", "crow", "plan")
_OPTIONS = FinetuneOptions(
    epochs=12, batch_tokens=512, learning_rate=0.01, averaging=0.9, window=128, word_dropout=0.0
)
Read = Callable[[list[dict[str, object]]], Examples]


def _articles(count: int, seed: int) -> list[dict[str, object]]:
    # The sentence that begins with "so" sums up the article, wherever it stands.
    drawn, rows = random.Random(seed), []
    for _ in range(count):
        sentences = [" ".join(drawn.sample(_WORDS, 4)) + " ." for _ in range(drawn.randint(3, 6))]
        at = drawn.randrange(len(sentences))
        sentences[at] = f"so {sentences[at]}"
        rows.append({"source": sentences, "target": [sentences[at].removeprefix("so ")]})
    return rows


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """A function that reads articles as a file holds them."""

    def make(rows: list[dict[str, object]]) -> Examples:
        path = tmp_path / "data.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return read_examples(path, "summarization", (), EvaluateOptions(bullets=1))

    return make


def _start(examples: Examples) -> object:
    texts = [" ".join(inputs["text"]) for inputs in examples.inputs]
    shape = AlbertConfig(
        vocab_size=80,
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.1,
        classifier_dropout_prob=0.0,
    )
    return init_from_scratch(shape, texts, (), seed=0, task="summarization")


def test_a_rule_is_learned_and_the_file_knows_it(read: Read) -> None:
    train, dev = read(_articles(150, seed=0)), read(_articles(40, seed=1))
    start = _start(train)
    *_, last = finetune(start, SummarizationObjective(train), dev=dev, options=_OPTIONS)
    lead = np.mean(
        [rouge(i["text"][0], t) for i, t in zip(dev.inputs, dev.targets, strict=True)], 0
    )
    assert list(last.dev) == ["rouge1", "rouge2", "rougeL"]
    # The right sentence has a word more than its summary: F1 is 8/9.
    assert 0.8 < last.dev["rouge1"] <= 8 / 9 + 1e-9
    assert last.dev["rouge1"] > lead[0] + 0.2
    assert last.accuracy > 0.5
    pipe = load(convert(from_checkpoint(last.checkpoint), quantize="float32").blob)
    said = [pipe(**inputs)["bullets"][0]["text"] for inputs in dev.inputs]
    scores = [rouge(text, target) for text, target in zip(said, dev.targets, strict=True)]
    assert np.mean(scores, axis=0) == pytest.approx(list(last.dev.values()))


def test_every_sentence_has_its_score_at_its_end(read: Read) -> None:
    articles = _articles(5, seed=2)
    articles[0]["source"] = [*articles[0]["source"] * 16, "oak " * 200]  # windows, and a cut
    examples = read(articles)
    tokenizer = tokenizer_from_files(_start(examples).tokenizer_files)
    drawn = SummarizationObjective(examples).encode_epoch(
        tokenizer, _OPTIONS, np.random.default_rng(0)
    )
    assert (drawn.truncated, drawn.per_token) == (1, True)
    assert len(drawn.input_ids) > 5
    assert max(map(len, drawn.input_ids)) <= _OPTIONS.window
    for ids, types, row in zip(drawn.input_ids, drawn.token_type_ids, drawn.targets, strict=True):
        ends = [at for at, token in enumerate(ids) if token == tokenizer.sep_id]
        assert [at for at, score in enumerate(row) if score > IGNORE_INDEX] == ends
        assert len(types) == len(ids)
    last, source = drawn.targets[-1], articles[-1]["source"]
    want = [np.mean(rouge(sentence, articles[-1]["target"])) for sentence in source]
    assert last[last > IGNORE_INDEX] == pytest.approx(want)


def test_the_loss_is_of_means_over_sentences(read: Read) -> None:
    lesson = SummarizationObjective(read(_articles(2, seed=3)))
    logits = np.random.default_rng(0).standard_normal((2, 7)).astype(np.float32)
    targets = np.full((2, 7), IGNORE_INDEX, np.float32)
    targets[0, [2, 4]], targets[1, 5] = (0.5, 0.0), 1.0  # [CLS] a a b b - -, [CLS] c c c c c -
    means = np.array([logits[0, 1:3].mean(), logits[0, 3:5].mean(), logits[1, 1:6].mean()])
    scores = np.array([0.5, 0.0, 1.0])
    want = np.mean(np.log1p(np.exp(means)) - means * scores)
    outputs = {"sentence_logits": tf.constant(logits)}
    got = lesson.loss(outputs, tf.constant(targets), None, _OPTIONS)
    assert float(got) == pytest.approx(want, rel=1e-5)
    right = lesson.accuracy(outputs, tf.constant(targets), None)
    assert float(right) == (1.0 if means[0] > means[1] else 0.5)


def test_there_has_to_be_something_to_learn(read: Read) -> None:
    with pytest.raises(TrainingError, match="no sentence has a word in common"):
        SummarizationObjective(read([{"source": ["a mill"], "target": "the end"}])).check(_OPTIONS)
    with pytest.raises(TrainingError, match="line 1: there is no article"):
        SummarizationObjective(read([{"summary": "the end"}]))
    options = FinetuneOptions(class_weights="balanced")
    with pytest.raises(TrainingError, match="class_weights are for labels"):
        SummarizationObjective(read(_articles(2, seed=3))).check(options)

"""MediaPipe Tasks and Task Library read a file of the target `mediapipe` as `run` does.

The libraries do not show the tokens of a text. So a graph that returns its inputs takes the place
of a model's in one of our files, beside the same tokenizer: its "embedding" is what the library
gave it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from albert_edge import load
from albert_edge.bundle.bundle import pack, read
from albert_edge.checkpoints import read_checkpoint
from albert_edge.conversion import convert
from albert_edge.modeling import from_checkpoint
from albert_edge.pipelines.base import Pipeline
from albert_edge.tokenizer import Tokenizer, load_tokenizer
from libraries.samples import DRAWN, ODD, questions, sentences
from rigs.google_libraries import RIGS, give_texts
from rigs.graphs import Graph
from rigs.install import RigError

LIBRARIES = ("mediapipe", "task-library")
COMPAT = "tflite-runtime-2.14"
LENGTH, WINDOW = 128, 384
QA = "question-answering"
# A vocabulary's kind → a checkpoint below the data, or the embedded model.
SENTENCES = {"sentencepiece": "default", "wordpiece": "albert_minilm/encoder_small"}
ANSWERS = {"sentencepiece": "default", "wordpiece": "albert_minilm/qa"}
Pair: TypeAlias = tuple[str, str]
Span: TypeAlias = tuple[int, int]
# Text → why Google's WordPiece tokenizer reads it otherwise: it converts only ASCII to lower case
# and does nothing else to a text, so words with other characters are unknown.
_ACCENT, _CASE = "a letter with an accent", "a capital beyond ASCII"
WORDPIECE_DIFFERS = {
    ODD[2]: _ACCENT,
    ODD[3]: _ACCENT,
    ODD[8]: "white space beyond ASCII",
    ODD[9]: "a zero-width space, a byte order mark",
    ODD[10]: "control characters",
    ODD[11]: "a soft hyphen, a joiner",
    ODD[14]: f"{_CASE}; {_ACCENT}",
    ODD[15]: _CASE,
    ODD[16]: "Korean syllables, of which BERT's vocabulary has the parts; a Thai mark",
    "o ótimo esforço do diretor acaba sendo frustrado pelo roteiro , que , depois de levar um bom "
    "tempo para colocar a trama em andamento , perde-se de vez a partir do instante em que os "
    "estranhos acontecimentos são explicados .": _ACCENT,
    "As a result, by 1206 Temüjin had managed to unite or subdue the Merkits, Naimans, Mongols, "
    "Keraites, Tatars, Uyghurs, and other disparate smaller tribes under his rule": _ACCENT,
}
# Of each drawn question and its passage whose ids differ: the characters that are the cause.
UNKNOWN = (
    *("č", "š", "é", "ó", "óŚś", "èö", "\u200b", "éŻ", "çóń", "ô", "é", "é", "ā", "é", "ó", "ü"),
    *("ü", "è", "ç", "ōέί", "ö", "ü", "óŚś", "é", "ä", "ü"),
)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Any:
    RIGS[request.param].require()
    return request.param


@pytest.fixture(scope="module")
def make(data_folder: Path, built_once: Callable[..., Path]) -> Callable[..., Path]:
    """A function that converts a checkpoint to a file of the target, once."""

    def file(source: str, task: str = "auto", **options: Any) -> Path:
        def build(path: Path) -> None:
            place = source if source == "default" else str(data_folder / source)
            checkpoint = read_checkpoint(place, task=task, init_head=task != "auto")
            convert(from_checkpoint(checkpoint), target="mediapipe", **options).save(path)

        named = "-".join([source.replace("/", "."), task, *options.values()])
        return built_once(f"{named}.tflite", build)

    return file


def as_probe(file: Path, path: Path) -> Path:
    """Write a file whose result is its inputs, with the tokenizer and the metadata of another."""
    graph, one, kinds = Graph(), (1, LENGTH), schema.TensorType
    inputs = [
        graph.input(name, one, np.int32)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    cast = schema.CastOptionsT(inDataType=kinds.INT32, outDataType=kinds.FLOAT32)
    rows = [graph.add("CAST", [each], one, cast) for each in inputs]
    joined = schema.ConcatenationOptionsT(axis=1, fusedActivationFunction=0)
    output = graph.add("CONCATENATION", rows, (1, 3 * LENGTH), joined)
    path.write_bytes(pack(graph.file({"sentence_embedding": output}), read(file)))
    return path


def read_ids(library: Any, probe: Path, texts: Sequence[str]) -> list[list[int]]:
    """Return the ids that a library makes of each text; check the mask and the types."""
    found = []
    for vector in give_texts(library, "embedder", probe, texts):
        ids, mask, types = np.array(vector).astype(int).reshape(3, LENGTH)
        count = int(mask.sum())
        assert mask.tolist() == [1] * count + [0] * (LENGTH - count)
        assert not types.any()
        found.append(ids[:count].tolist())
    return found


def same_ids(
    library: Any, kind: str, file: Path, texts: Sequence[str], data: Path, folder: Path
) -> list[bool]:
    """Return of which texts a library makes the ids that the checkpoint's tokenizer makes."""
    tokenizer = original_tokenizer(kind, data)
    found = read_ids(library, as_probe(file, folder / "probe.tflite"), texts)
    expected = [tokenizer.encode(text, max_length=LENGTH).input_ids for text in texts]
    return [got == want for got, want in zip(found, expected, strict=True)]


def original_tokenizer(kind: str, data: Path) -> Tokenizer:
    source = SENTENCES[kind]
    return load_tokenizer(source if source == "default" else data / source)


@pytest.mark.parametrize("kind", SENTENCES)
def test_ids(
    library: Any, kind: str, make: Callable[..., Path], data_folder: Path, tmp_path: Path
) -> None:
    texts = [*ODD, *sentences(data_folder)]
    file = make(SENTENCES[kind], "feature-extraction", compat=COMPAT)
    same = same_ids(library, kind, file, texts, data_folder, tmp_path)
    assert len(texts) - len(ODD) == DRAWN
    assert sum(same[len(ODD) :]) >= 0.98 * DRAWN
    differing = [text for text, equal in zip(texts, same, strict=True) if not equal]
    assert differing == ([] if kind == "sentencepiece" else list(WORDPIECE_DIFFERS))


@pytest.mark.parametrize(
    "options",
    [
        {"quantize": "float32"},
        {"quantize": "float16"},
        {"quantize": "int8"},
        {"quantize": "int8", "compat": COMPAT},
    ],
    ids=lambda one: "-".join(one.values()),
)
def test_labels(
    library: Any, options: dict[str, str], make: Callable[..., Path], data_folder: Path
) -> None:
    file = make("default", **options)
    if library == "task-library" and options == {"quantize": "int8"}:
        with pytest.raises(RigError, match="'FULLY_CONNECTED' version '12'"):
            give_texts(library, "classifier", file, ["a film"])
        return
    texts = [*ODD, *sentences(data_folder)]
    pipe = load(file)
    # The kernels of other versions sum in another order; an int8 activation may round otherwise.
    tolerance = 0.03 if options["quantize"] == "int8" else 1e-5
    for text, scores in zip(texts, give_texts(library, "classifier", file, texts), strict=True):
        expected = pipe(text)
        assert max(scores, key=scores.__getitem__) == expected["label"], text
        assert scores == pytest.approx(expected["scores"], abs=tolerance), text


@pytest.mark.parametrize(
    ("kind", "quantize"), [("sentencepiece", "int8"), ("wordpiece", "float32")]
)
def test_nearest_sentences(
    library: Any,
    kind: str,
    quantize: str,
    make: Callable[..., Path],
    data_folder: Path,
    tmp_path: Path,
) -> None:
    texts = [*ODD, *sentences(data_folder)]
    file = make(SENTENCES[kind], "feature-extraction", quantize=quantize, compat=COMPAT)
    same = same_ids(library, kind, file, texts, data_folder, tmp_path)
    kept = [text for text, equal in zip(texts, same, strict=True) if equal]
    found = np.array(give_texts(library, "embedder", file, kept))
    pipe = load(file)
    expected = np.array([pipe(text)["sentence_embedding"] for text in kept])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    # The kernels of other versions sum in another order; an int8 activation may round otherwise.
    tolerance = 1e-5 if quantize == "float32" else 0.01
    np.testing.assert_allclose(found, expected, atol=tolerance)
    one, other = nearest(found), nearest(expected)
    # Where another sentence is nearest, both are as near as rounding can tell.
    cosines = np.einsum("ij,ij->i", expected, expected[one] - expected[other])
    assert np.abs(cosines).max() <= tolerance
    assert (one != other).mean() <= (0 if quantize == "float32" else 0.02)


def nearest(vectors: np.ndarray) -> np.ndarray:
    """Return the index of the nearest other vector of each."""
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    return cosines.argmax(axis=1)


@pytest.fixture(scope="module")
def pairs(make: Callable[..., Path], data_folder: Path) -> Callable[[str], list[Pair]]:
    """A function that draws questions with passages that fit one window of a vocabulary's kind."""

    def draw(kind: str) -> list[Pair]:
        tokenizer = original_tokenizer(kind, data_folder)
        drawn = questions(data_folder, DRAWN + 20)
        kept = [pair for pair in drawn if len(tokenizer.encode(*pair).input_ids) <= WINDOW]
        return kept[:DRAWN]

    return draw


@pytest.mark.parametrize("kind", ANSWERS)
def test_ids_of_questions(
    kind: str, make: Callable[..., Path], pairs: Any, data_folder: Path, tmp_path: Path
) -> None:
    drawn, file = pairs(kind), make(ANSWERS[kind], QA, compat=COMPAT)
    assert len(drawn) == DRAWN
    same = same_pairs(kind, file, drawn, data_folder, tmp_path)
    if kind == "sentencepiece":
        assert all(same)
        return
    found = [unknown("".join(pair)) for pair in drawn]
    assert same == [not characters for characters in found]
    assert tuple(filter(None, found)) == UNKNOWN
    given = [(plainly(question), plainly(passage)) for question, passage in drawn]
    assert all(same_pairs(kind, file, drawn, data_folder, tmp_path, given=given))


def unknown(text: str) -> str:
    """Return the characters of whose words Google's WordPiece tokenizer makes other tokens."""
    return "".join(sorted({one for one in text if not one.isascii() and plainly(one) != one}))


def plainly(text: str) -> str:
    """Return a text without accents and what no one sees, as an app may give it to the library."""
    apart = unicodedata.normalize("NFD", text)
    return "".join(one for one in apart if unicodedata.category(one) not in ("Mn", "Cf"))


def same_pairs(
    kind: str,
    file: Path,
    pairs: Sequence[Pair],
    data: Path,
    folder: Path,
    *,
    given: Sequence[Pair] | None = None,
) -> list[bool]:
    """Return of which pairs Task Library makes the inputs that the checkpoint's tokenizer makes.

    It shows no more of them than the sum of two logits: so both are a number that identifies the
    ids, the mask and the types of all places, for every token of the passage.
    """
    RIGS["task-library"].require()
    tokenizer = original_tokenizer(kind, data)
    draw = np.random.default_rng(0)
    # Integers, so that sums up to 2^24 are exact in any order.
    table = draw.integers(1, 100, tokenizer.vocab_size).astype(np.float32)
    table[tokenizer.pad_id] = 0
    factors = draw.integers(1, 100, (3, 1, WINDOW)).astype(np.float32)
    probe = folder / "probe.tflite"
    probe.write_bytes(pack(numbered(table, factors), read(file)))
    found = give_texts("task-library", "answerer", probe, given or pairs)
    same = []
    for pair, answers in zip(pairs, found, strict=True):
        encoding = tokenizer.encode(*pair)
        size = len(encoding.input_ids)
        rows = table[encoding.input_ids], np.ones(size), encoding.token_type_ids
        number = sum(
            float(np.dot(row, by[0, :size])) for row, by in zip(rows, factors, strict=True)
        )
        same.append(answers[0]["logit"] == 2 * number)
    return same


def numbered(table: np.ndarray, factors: np.ndarray) -> bytes:
    """Make a graph whose logits are the number of its inputs, and very low for the question."""
    graph, one, kinds = Graph(), (1, WINDOW), schema.TensorType
    ids, mask, types = (
        graph.input(name, one, np.int32)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    cast = schema.CastOptionsT(inDataType=kinds.INT32, outDataType=kinds.FLOAT32)
    kind = graph.add("CAST", [types], one, cast)
    rows = [
        graph.add("GATHER", [table, ids], one, schema.GatherOptionsT(axis=0)),
        graph.add("CAST", [mask], one, cast),
        kind,
    ]
    terms = [
        graph.add("MUL", [row, by], one, schema.MulOptionsT())
        for row, by in zip(rows, factors, strict=True)
    ]
    row = graph.add("ADD", terms[:2], one, schema.AddOptionsT())
    row = graph.add("ADD", [row, terms[2]], one, schema.AddOptionsT())
    keep = schema.ReducerOptionsT(keepDims=True)
    number = graph.add("SUM", [row, np.int32([1])], (1, 1), keep)
    low = graph.add(
        "MUL",
        [
            graph.add("SUB", [kind, np.float32([[1]])], one, schema.SubOptionsT()),
            np.float32([[1e9]]),
        ],
        one,
        schema.MulOptionsT(),
    )
    logits = [graph.add("ADD", [low, number], one, schema.AddOptionsT()) for _ in range(2)]
    return graph.file(dict(zip(("start_logits", "end_logits"), logits, strict=True)))


# Questions by file, and how many answers at most may be others than `run`'s: the best span of all
# is not always one of the five best starts and ends; an untrained head (SentencePiece) chooses any.
@pytest.mark.parametrize(
    ("kind", "quantize", "count", "most"),
    [
        ("sentencepiece", "float32", 10, 10),
        ("wordpiece", "float32", DRAWN, 0),
        ("wordpiece", "int8", 8, 1),
    ],
)
def test_answers(
    kind: str, quantize: str, count: int, most: int, make: Callable[..., Path], pairs: Any
) -> None:
    RIGS["task-library"].require()
    file = make(ANSWERS[kind], QA, quantize=quantize, compat=COMPAT)
    drawn, pipe, others = pairs(kind)[:count], load(file), 0
    given = [(plainly(question), plainly(passage)) for question, passage in drawn]
    for pair, found in zip(drawn, give_texts("task-library", "answerer", file, given), strict=True):
        chosen = (found[0]["first"], found[0]["last"]) if found else None
        if chosen == (ours := answered_span(pipe, *pair)):
            continue
        others += 1
        starts, ends, context = read_logits(pipe, *pair)
        totals = {
            span: starts[span[0]] + ends[span[1]] for span in spans_of_five(starts, ends, context)
        }
        assert bool(found) == bool(totals), pair
        # An int8 activation may round otherwise in the kernels of another version.
        assert quantize == "int8" or ours not in totals, pair
        tolerance = 0.2 if quantize == "int8" else 1e-3
        assert (
            chosen is None
            or starts[chosen[0]] + ends[chosen[1]] >= max(totals.values()) - tolerance
        )
    assert others <= most


def read_logits(
    pipe: Pipeline, question: str, passage: str
) -> tuple[np.ndarray, np.ndarray, set[int]]:
    """Return the logits of starts and ends, [T] each, and the tokens of the passage."""
    assert pipe.tokenizer is not None
    encoding = pipe.tokenizer.encode(question, passage)
    found = pipe.model.run(encoding.input_ids, encoding.token_type_ids)
    spans = zip(encoding.token_type_ids, encoding.offsets, strict=True)
    context = {at for at, (kind, span) in enumerate(spans) if kind and span is not None}
    return found["start_logits"][0], found["end_logits"][0], context


def spans_of_five(starts: np.ndarray, ends: np.ndarray, context: set[int]) -> list[Span]:
    """Return the spans of the five best starts and ends, as Task Library forms them."""
    first, last = (np.argsort(-logits, kind="stable")[:5].tolist() for logits in (starts, ends))
    return [
        (one, other)
        for one in first
        for other in last
        if context.issuperset((one, other)) and 0 <= other - one < 32
    ]


def answered_span(pipe: Pipeline, question: str, passage: str) -> Span:
    """Return the first and the last token of the answer of `run`."""
    assert pipe.tokenizer is not None
    answer = pipe(question=question, context=passage, max_answer_length=32)
    encoding = pipe.tokenizer.encode(question, passage)
    spans = zip(encoding.token_type_ids, encoding.offsets, strict=True)
    tokens = [
        at
        for at, (kind, span) in enumerate(spans)
        if kind and span and answer["start"] < span[1] and span[0] < answer["end"]
    ]
    return tokens[0], tokens[-1]

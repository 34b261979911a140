"""`TokenClassificationObjective`: the label of every word, at its first token."""

from __future__ import annotations

from pathlib import Path

from albert_edge.tokenizer import Tokenizer
from albert_edge.training.objective import IGNORE_INDEX
from training.samples import learn, make_texts
from training.tasks.samples import draw, read


def test_words(tmp_path: Path, toy_shape: Path) -> None:
    path = tmp_path / "words.conll"
    lines = [
        "".join(f"{word} {'B-PER' if word in ('widow', 'crow') else 'O'}\n" for word in words)
        for words in make_texts(100)
    ]
    path.write_text("\n".join(lines))
    report = learn(path, toy_shape)
    assert report["task"] == "token-classification"
    assert report["dev_metrics"]["f1"] > 0.9
    # Words that are right are not independent examples: there is no simple interval.
    assert report["dev_accuracy"] > 0.9
    assert report["dev_interval"] is None


def test_the_first_token_of_a_word_says_its_label(tokenizer: Tokenizer, tmp_path: Path) -> None:
    labels = ("O", "B-PER", "I-PER", "B-LOC")
    content = "the O\nfox O\nAda B-PER\nLovelace I-PER\nsaw O\nOslo B-LOC\n"
    lesson = read(tmp_path, "a.conll", content, "token-classification", *labels)
    drawn = draw(lesson, tokenizer, max_length=40)
    encoding = tokenizer.encode("the fox Ada Lovelace saw Oslo")
    (row,) = drawn.targets
    assert (drawn.per_token, drawn.truncated, len(row)) == (True, 0, len(encoding.input_ids))
    starts = {0: 0.0, 4: 0.0, 8: 1.0, 12: 2.0, 21: 0.0, 25: 3.0}
    for offset, target in zip(encoding.offsets, row, strict=True):
        assert target == (IGNORE_INDEX if offset is None else starts.pop(offset[0], IGNORE_INDEX))
    assert not starts
    cut = draw(lesson, tokenizer, max_length=8)
    assert (cut.truncated, len(cut.targets[0])) == (1, 8)

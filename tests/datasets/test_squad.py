"""`read_squad`: questions, contexts and answers of both versions."""

from __future__ import annotations

from datasets.files import QUESTION, Data, read, squad


def test_squad_of_both_versions(data: Data) -> None:
    unanswered = {"id": "q2", "question": "who ?", "answers": [], "is_impossible": True}
    found = read(data("a.json", squad(QUESTION)), "question-answering")
    assert not found.squad_v2
    assert found.inputs == [{"question": "what fell ?", "context": "the mill fell ."}]
    assert found.targets == [("the mill",)]
    assert read(data("b.json", squad(QUESTION, version="v2.0")), "question-answering").squad_v2
    both = read(data("c.json", squad(QUESTION, unanswered)), "question-answering", limit=1)
    assert both.squad_v2  # also if the limit leaves no such question
    assert both.ids == ["q1"]

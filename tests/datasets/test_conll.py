"""`read_conll`: words and their labels, sentence by sentence."""

from __future__ import annotations

from datasets.files import Data, read


def test_conll(data: Data) -> None:
    text = "-DOCSTART- -X- O\n\nthe DT O\r\nmill NN B-X\r\n\n\nfell\tVB\tO\n"
    found = read(data("d.conll", text), "token-classification", ("O", "B-X"))
    assert found.inputs == [{"words": ["the", "mill"]}, {"words": ["fell"]}]
    assert found.targets == [["O", "B-X"], ["O"]]
    assert [place.rsplit(" ", 1)[1] for place in found.places] == ["3", "7"]

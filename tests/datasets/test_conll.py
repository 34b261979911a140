"""`read_conll`: words and their labels, sentence by sentence."""

from __future__ import annotations

import pytest

from albert_edge.errors import InputError
from datasets.files import Data, read


def test_conll(data: Data) -> None:
    text = "-DOCSTART- -X- O\n\nthe DT O\r\nmill NN B-X\r\n\n\nfell\tVB\tO\n"
    found = read(data("d.conll", text), "token-classification", ("O", "B-X"))
    assert found.inputs == [{"words": ["the", "mill"]}, {"words": ["fell"]}]
    assert found.targets == [["O", "B-X"], ["O"]]
    assert [place.rsplit(" ", 1)[1] for place in found.places] == ["3", "7"]


def test_comments_and_tabs_of_conll(data: Data) -> None:
    text = (
        "# newdoc id = d1\n# sent_id = 1\n# text = New York in 10\u00a0000\n"
        "New York\tB-LOC\n#\tO\n10\u00a0000\tO\n\u3000\tO\n\n# sent_id = 2\n# a b\nx\tO\n"
    )
    found = read(data("d.conll", text), "token-classification", ("O", "B-LOC"))
    assert found.inputs[0] == {"words": ["New York", "#", "10\u00a0000", "\u3000"]}
    assert found.targets == [["B-LOC", "O", "O", "O"], ["O"]]
    assert [place.rpartition(" ")[2] for place in found.places] == ["4", "11"]
    text = "# sent_id = 1\n# text = met in Rome\nRome NNP X B-LOC\n# # X O\n# a b = c\n"
    found = read(data("d.conll", text), "token-classification", ("O", "B-LOC"))
    assert found.targets == [["B-LOC", "O"]]
    text = "a NN\n# SYM\n"
    with pytest.raises(InputError, match="line 2: '# SYM' may be a comment or the word '#'"):
        read(data("d.conll", text), "token-classification", ("NN", "SYM"))
    text = "a NN\n\nb\n\nc NN\n\nd VB\n"
    found = read(data("d.conll", text), "token-classification", ("NN",), skip_bad=True)
    assert [inputs["words"] for inputs in found.inputs] == [["a"], ["c"]]
    assert len(found.skipped) == 2

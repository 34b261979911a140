"""Write `minilm_golden.npz`: sentences, and what all-MiniLM-L6-v2 makes of them in torch.

Not run by the tests.  Run it in the environment of `make_parity_golden.py`, with the directory of
the model that `python -m tests.rigs install minilm` fetches, `.rigs/minilm-*/*/model`:

    /tmp/torch-env/bin/python tests/data/make_minilm_golden.py DIRECTORY
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

TEXTS = (
    "a quiet, moving film",
    "How do I reset my PIN?",
    "I forgot the code of my card.",
    "The Café's naïve façade: 1,234 €!",
    "東京タワーへ行く。",
    "x" * 300,
    "[CLS] is a word, and 'so' is [MASK].",
    "The river rose 3.5 m overnight, and the mill's owner fled. " * 5,
)


def main(source: str) -> None:
    """Write the file: the mean of the hidden states of every token, scaled to unit length."""
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModel.from_pretrained(source).eval()
    embeddings = []
    for text in TEXTS:
        # The names of special tokens in a text are text here.
        encoded = tokenizer(text, return_tensors="pt", split_special_tokens=True)
        with torch.no_grad():
            mean = model(**encoded).last_hidden_state[0].mean(0)
        embeddings.append((mean / mean.norm()).numpy())
    path = Path(__file__).with_name("minilm_golden.npz")
    np.savez(path, texts=np.array(TEXTS), embeddings=np.stack(embeddings))


if __name__ == "__main__":
    main(sys.argv[1])

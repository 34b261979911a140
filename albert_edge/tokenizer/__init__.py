"""Text to token ids, each with its place in the original text.

`settings` say how text is prepared; `preprocess` (SentencePiece) and `basic` (WordPiece) prepare it
and remember where every character came from; `spiece` and `wordpiece` cut it into pieces; `base`
joins the pieces of one or two texts into what the model takes, and `special` finds the names of
special tokens in them if asked; `fast` and `load` read files.
"""

from __future__ import annotations

from albert_edge.tokenizer.base import Encoding, Tokenizer, Tokens
from albert_edge.tokenizer.load import load_tokenizer, tokenizer_from_files

__all__ = ["Encoding", "Tokenizer", "Tokens", "load_tokenizer", "tokenizer_from_files"]

"""Convert text to token ids, each with its span in the original text.

`sentencepiece` and `wordpiece` normalize text and split it into pieces, `base` joins the pieces of
one or two texts into the model's input, and `load` and `huggingface_json` read files.
"""

from __future__ import annotations

from albert_edge.tokenizer.base import Encoding, Tokenizer, Tokens
from albert_edge.tokenizer.load import load_tokenizer, tokenizer_from_files

__all__ = ["Encoding", "Tokenizer", "Tokens", "load_tokenizer", "tokenizer_from_files"]

"""Convert text to token ids, each with its span in the original text.

`sentencepiece` and `wordpiece` normalize text and split it into pieces, `base` joins the pieces of
one or two texts into the model's input, `load` and `huggingface_json` read files, and `charsmap`
compiles the normalization for other libraries.
"""

from __future__ import annotations

from albert_edge.tokenizer.base import Encoding, Span, Tokenizer
from albert_edge.tokenizer.charsmap import library_files
from albert_edge.tokenizer.config import CONFIG_FILE, VOCABULARY_FILES, SentencePieceConfig
from albert_edge.tokenizer.load import load_tokenizer, tokenizer_from_files
from albert_edge.tokenizer.sentencepiece import preprocess
from albert_edge.tokenizer.wordpiece import WordPieceTokenizer

__all__ = [
    "CONFIG_FILE",
    "VOCABULARY_FILES",
    "Encoding",
    "SentencePieceConfig",
    "Span",
    "Tokenizer",
    "WordPieceTokenizer",
    "library_files",
    "load_tokenizer",
    "preprocess",
    "tokenizer_from_files",
]

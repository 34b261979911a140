"""Train a SentencePiece vocabulary for ALBERT."""

from __future__ import annotations

import io
from collections.abc import Iterable

import sentencepiece

from albert_edge.errors import TrainingError
from albert_edge.tokenizer.base import Tokenizer
from albert_edge.tokenizer.config import CONFIG_FILE, SPIECE_FILE, SentencePieceConfig
from albert_edge.tokenizer.load import tokenizer_from_files
from albert_edge.tokenizer.sentencepiece import preprocess

__all__ = ["train_vocabulary"]


def train_vocabulary(texts: Iterable[str], *, size: int) -> Tokenizer:
    """Train a unigram vocabulary (Kudo 2018, arXiv:1804.10959) with ALBERT's special tokens.

    Ids 0 to 4 are `<pad>`, `<unk>`, `[CLS]`, `[SEP]`, `[MASK]`, as in the published vocabularies.

    Args:
        texts: The corpus, which is normalized as the tokenizer normalizes text.
        size: V, the maximum number of pieces; a small corpus results in fewer.

    Raises:
        TrainingError: There is no text, or `size` is too small for its characters.
    """
    config = SentencePieceConfig()
    normalized = [preprocess(text, config).text for text in texts]
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(normalized),
            model_writer=model,
            vocab_size=size,
            hard_vocab_limit=False,
            character_coverage=0.9999,
            pad_id=0,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            control_symbols=[config.cls_token, config.sep_token, config.mask_token],
            num_threads=1,  # the scores and the order of the pieces depend on it
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise TrainingError(
            f"cannot train a vocabulary of {size} pieces on {len(normalized)} texts: {error}."
        ) from error
    files = {SPIECE_FILE: model.getvalue(), CONFIG_FILE: config.to_json()}
    return tokenizer_from_files(files)

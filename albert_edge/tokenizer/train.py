"""Train a SentencePiece vocabulary such as ALBERT uses."""

from __future__ import annotations

import io
from collections.abc import Iterable

import sentencepiece

from albert_edge.errors import TrainingError
from albert_edge.tokenizer.base import Tokenizer
from albert_edge.tokenizer.config import SentencePieceConfig
from albert_edge.tokenizer.load import tokenizer_from_files
from albert_edge.tokenizer.sentencepiece import preprocess

__all__ = ["train_vocabulary"]


def train_vocabulary(texts: Iterable[str], *, size: int) -> Tokenizer:
    """Train a unigram vocabulary (Kudo 2018, arXiv:1804.10959) with ALBERT's special tokens.

    Ids 0 to 4 are `<pad>`, `<unk>`, `[CLS]`, `[SEP]`, `[MASK]`, as in the published vocabularies.

    Args:
        texts: What to train on, as it was written; it is prepared as the tokenizer prepares text.
        size: V, the most pieces there may be; little text gives fewer.

    Raises:
        TrainingError: There is no text, or `size` has no room for its characters.
    """
    settings = SentencePieceConfig()
    prepared = [preprocess(text, settings).text for text in texts]
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(prepared),
            model_writer=model,
            vocab_size=size,
            hard_vocab_limit=False,
            character_coverage=0.9999,
            pad_id=0,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            control_symbols=[settings.cls_token, settings.sep_token, settings.mask_token],
            num_threads=1,  # the pieces' scores, and so their order, depend on it
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise TrainingError(
            f"no vocabulary of {size} pieces can be trained on {len(prepared)} texts: {error}."
        ) from error
    files = {"spiece.model": model.getvalue(), "tokenizer_config.json": settings.to_json()}
    return tokenizer_from_files(files)

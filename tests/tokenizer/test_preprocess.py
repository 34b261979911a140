"""Text is prepared as the original ALBERT does, whole strings or not."""

from __future__ import annotations

from hypothesis import given

from albert_edge.tokenizer.config import SentencePieceConfig
from albert_edge.tokenizer.sentencepiece import preprocess
from tokenizer.reference import IN_SESSION, SETTINGS, TEXT, assert_sound, reference_text


@IN_SESSION
@given(text=TEXT | TEXT.filter(str.isascii), options=SETTINGS)
def test_text_is_prepared_as_the_reference_does(text: str, options: SentencePieceConfig) -> None:
    aligned = preprocess(text, options)
    assert aligned.text == reference_text(text, options)
    assert len(aligned.starts) == len(aligned.ends) == len(aligned.text)
    assert_sound(list(zip(aligned.starts, aligned.ends, strict=True)), text)
    assert all(start < end for start, end in zip(aligned.starts, aligned.ends, strict=True))


def test_every_character_is_prepared_as_the_reference_does() -> None:
    # Beyond the second plane are only ideographs, tags and nothing.
    chars = [chr(n) for n in range(0x20000) if not 0xD800 <= n < 0xE000]
    for at in range(0, len(chars), 4096):
        text = "x".join(chars[at : at + 4096])
        assert preprocess(text, SentencePieceConfig()).text == reference_text(
            text, SentencePieceConfig()
        )

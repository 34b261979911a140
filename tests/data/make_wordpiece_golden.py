"""Write wordpiece_vocab.txt and wordpiece_golden.json: what Hugging Face's slow BertTokenizer says.

Run it with `transformers<5` in an environment of its own (it is no dependency of the package or of
its tests):

    python tests/data/make_wordpiece_golden.py

The vocabulary is made here: the characters of some scripts, the words of some sentences.  Ids under
"special" are of texts in which the names of special tokens are tokens, all others of texts in which
they are text: neither found by the base class (`split_special_tokens`) nor never split.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "cased": {"do_lower_case": False},
    "accents": {"strip_accents": False},
    "cased_no_accents": {"do_lower_case": False, "strip_accents": True},
    "japanese": {"tokenize_chinese_chars": False},
}
TEXTS = [
    "",
    " \t\r\n ",
    "A plain sentence, nothing more.",
    "unaffable, unbreakable; rebreaking the unbroken-- don't!",
    "In 1999 2,000 of 9,9 came at 12:30 (99%) for $5 and #7.",
    "[CLS] a [SEP] b [MASK] [mask] [Mask][PAD] [UNK] [unused1] <pad>",
    "巴黎是法国的首都。它在塞纳河上，对吗？",
    "我们在2024年学习ALBERT模型，用了３个ＧＰＵ！",
    "漢字とかなとカタカナ、がぎぐ ｶﾞｷﾞ 東京",
    "㐀一龥\U00020000\U0002a6d6\U0002b740\uf900\ufa0e\ufa6e\U0002f800",
    "漢\u0301字\u3099 a漢b 漢!漢",
    "한국어 각 \u1100\u1161\u11a8 가\u11a8 학교",
    "Café naïve Ångström Zürich coöperate São Tomé ÉCOLE",
    "Cafe\u0301 nai\u0308ve A\u030angstro\u0308m E\u0301COLE",
    "q\u0323\u0307 q\u0307\u0323 \u0301 stray \u0301\u0302\u0303x",
    "e\u0302\u0301 ê\u0301 s\u0323\u0307 \u1e63\u0307",
    "ΟΔΟΣ Οδός ΣΑΣ σ Σ ς 𝚺𝚨𝚺 οδοσ",
    "İstanbul IĞDIR ıssız i̇ I\u0307 I",
    "≠ =\u0338 <\u0338 a\u0338 the>\u0338 the,=\u0338the the;\u0338",
    "\u037e \u1fef \u0387 \u2126 \u212a \u212b",
    "zero\u200bwidth\u200cnon\u200djoiner\ufeffbom\u2060word soft\u00adhyphen",
    "bell\u0007 nul\u0000nul escape\u001b[0m del\u007f c1\u0085x\u009f",
    "re\ufffdplaced \ue000 \U0010ffff",
    "file\u001cgroup\u001drecord\u001eunit\u001f vertical\u000btab form\u000cfeed",
    "no\u00a0break\u2007figure\u202fnarrow\u3000wide\u1680ogham\u2028line\u2029paragraph",
    "e\u200b\u0301 \u0301e \u200b e\u0301\u200b!",
    "“curly” ‘quotes’ — dash… «guillemets» ¿qué? ¡sí! §1 ¶2 ©3 ™ + = ~ ^ ` | \\",
    "don’t l’été naïve–café",
    "नमस्ते शान्ति สวัสดี שָׁלוֹם العَرَبِيَّة বাংলা ক্ষ কো \u09c7\u09be",
    "привет мир ЁЛКА ёлка Йод й и\u0306",
    "😀 a😀b 👩‍👩‍👧‍👦 👍🏽 🇫🇷 ❤️ 1️⃣",
    "ﬁne oﬀer ﷺ ㎏ ½ ① Ⅳ ß ẞ ŉ ǆ Ǆ",
    "\U0001d15e \U0001d15f a\U0001d165\u0301\U0001d16e x\u302e\u0301y \u0f73 \u0f71\u0f74 \u0344",
    "a" * 100 + " " + "a" * 101 + " " + "e\u0301" * 100 + " " + "e\u0301" * 101 + " " + "İ" * 51,
    "a" * 60 + "." + "a" * 60 + "," + "ü" * 60,
    "a b ab aab abx xab the thethe thx",
]  # fmt: skip
SPECIAL = [
    "Paris is the [MASK] of France.",
    "巴黎是法国的[MASK]都。",
    "[CLS] a  [MASK]  b[SEP][SEP] [PAD]c [UNK] [mask] [Mask]",
    "[MASK][MASK] [MASK",
    "the [MAS[MASK]K] of \u00a0[MASK]\u3000İ[SEP]é\u0301[PAD]",
    "",
    " [MASK] ",
]
_WORDS = """
the a of is was sentence nothing more plain paris france capital un ##aff ##able break ##break ##ing
re ##broken ##en ##s don came 19 ##99 20 ##00 mask cls cafe café Café naive naïve Paris France In
école ecole ΟΔΟΣ οδος οδοσ istanbul i̇stanbul zerowidth zero ##width hello привет мир ##ка елка ёлка
йод 东京 東京 ##ab aab ##the album albert model 模型 α ≠ ##≠ Å å ê ế
"""
_INNER = "abcdefghijklmnopqrstuvwxyz0123456789"
_CHARACTERS = (
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~。，？！、“”‘’—…«»¿¡§¶·"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ巴黎是法国的首都它在塞纳河上对吗我们年学习用了个漢字一豈丽とかなカタガ"
    "αβγδεοςσабвгдеёийлмнопрстуώéüæøı½ßक้नمस্"
    "\u1100\u1161\u11a8\u1112\u116b각한학교국\u0301\u0323\u0307\u0308\u09c7\u09be\u09cb\u0f71"
)


def vocabulary() -> list[str]:
    """Make the pieces, in the order of their ids."""
    special = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [*_INNER, *_CHARACTERS]
    inner = [f"##{char}" for char in letters[: len(_INNER)] + letters[-60:]]
    return list(dict.fromkeys([*special, *letters, *inner, *_WORDS.split()]))


def main() -> None:
    """Tokenize every text in every setting, and write vocabulary and ids beside this script."""
    from transformers import BertTokenizer

    class PlainTokenizer(BertTokenizer):  # type: ignore[misc]
        def _tokenize(self, text: str) -> list[str]:
            return list(super()._tokenize(text, split_special_tokens=True))

    vocab = Path(__file__).with_name("wordpiece_vocab.txt")
    vocab.write_text("".join(f"{piece}\n" for piece in vocabulary()), encoding="utf-8")
    cases: dict[str, list[dict[str, Any]]] = {
        "texts": [{"text": text} for text in TEXTS],
        "special": [{"text": text} for text in SPECIAL],
    }
    for name, settings in SETTINGS.items():
        plain = PlainTokenizer(str(vocab), split_special_tokens=True, **settings)
        for kind, tokenizer in ("texts", plain), ("special", BertTokenizer(str(vocab), **settings)):
            for case in cases[kind]:
                pieces = tokenizer.tokenize(case["text"])
                case[name] = tokenizer.convert_tokens_to_ids(pieces)
    parts = [f'"settings": {json.dumps(SETTINGS)}'] + [
        f'"{kind}": [\n  ' + ",\n  ".join(map(json.dumps, cases[kind])) + "\n]" for kind in cases
    ]
    golden = "{" + ",\n".join(parts) + "}\n"
    Path(__file__).with_name("wordpiece_golden.json").write_text(golden, encoding="utf-8")


if __name__ == "__main__":
    main()

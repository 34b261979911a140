"""Write tokenizer_golden.json: what Hugging Face's slow AlbertTokenizer makes of nasty sentences.

Run it with `transformers<5` and `sentencepiece`, in an environment of its own (they are no
dependency of the package or of its tests):

    python tests/data/make_tokenizer_golden.py 30k-clean.model

The model is the vocabulary of the published albert-*-v2.  The names of special tokens are not
looked for in the text (`split_special_tokens`), because here they are text, except under "special".
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

SETTINGS: dict[str, dict[str, bool]] = {
    "default": {},
    "keep_accents": {"keep_accents": True},
    "cased": {"do_lower_case": False},
    "keep_space": {"remove_space": False},
}
TEXTS = [
    "",
    " ",
    "A plain sentence, nothing more.",
    "  leading,\ttabs\tand\n\n new lines \r\n",
    "``Quoted'' by 'hand', ```thrice''' and \"straight\"",
    "'' '' ' '' `` ` ``",
    "In 1999, 2,000 or 3,000,000 of 9,9 came; at 12, 13, and 007,",
    "x9,y 9,, ,9, $5,-- 1,2,3, ²,³ ①, Ⅳ, ٣,४, ፩,",
    "Café, naïve, Ångström, Zürich, coöperate, São Tomé",
    "Cafe\u0301 nai\u0308ve A\u030angstro\u0308m",
    "q\u0323\u0307 q\u0307\u0323 \u0301 stray \u0301\u0302\u0303x",
    "ΟΔΟΣ Οδός ΣΑΣ σ Σ ς 𝚺𝚨𝚺",
    "İstanbul IĞDIR ıssız i̇ I",
    "Ｆｕｌｌ　ｗｉｄｔｈ　１９，２０， ｶﾞｷﾞ",
    "no\u00a0break\u2007figure\u202fnarrow\u3000wide",
    "zero\u200bwidth\u200cnon\u200djoiner\ufeffbom\u2060word",
    "soft\u00adhyphen bell\u0007 nul\u0000 escape\u001b[0m del\u007f c1\u0085x\u009f",
    "file\u001cgroup\u001drecord\u001eunit\u001f end",
    "👩‍👩‍👧‍👦 family, 👍🏽 tone, 🇫🇷 flag, ❤️ heart, 1️⃣ key",
    "😀", "😀😀 a😀b",
    "한국어 각 각 漢字 かな が が",
    "ﬁne oﬀer ﷺ ㎏ ½ ™ … ㈱ ǆ ẞ ß ŉ",
    "नमस्ते शान्ति สวัสดี שָׁלוֹם العَرَبِيَّة",
    "[CLS] [SEP] [MASK] <pad> <unk> <s> </s> [PAD]",
    "[mask][MASK]a[MASK]b",
    "\u2581 lower\u2581one \u2581\u2581",
    "£5 – €6 — (seven) - eight. ... -- ((( )))",
    "http://example.org/a_b?c=d&e=%20#f user@example.org C:\\dir\\file",
    "don't can't 'tis rock'n'roll l'été",
    "A\u030a\u0327\u0301 Ǻ ự ṩ \u0041\u0300\u0316",
    "\U0001d400\U0001d41a \U0001f1e6 \U000e0001 \U0010fffd \ue000 \uffff \ufffd",
    "antidisestablishmentarianismpneumonoultramicroscopicsilicovolcanoconiosis",
    "MiXeD CaSe AND SHOUTING iPhone",
    "ab\u0001\u0002 cd \u0003 ef",
    "ｅ\u0301 ﬁ\u0301x",
]  # fmt: skip

SPECIAL = [
    "Paris is the [MASK] of France.",
    "Looks like one [MASK] is missing",
    "[CLS] a  [MASK]  b[SEP][SEP] <pad>c <unk> <PAD> <UnK> [mask] [Mask]",
    "[MASK][MASK] [MASK",
    "in 9,[MASK], \u00a0[MASK]\u3000\u0130[SEP]\u00e9\u0301<pad>",
    "",
    " [MASK] ",
]


def main() -> None:
    """Tokenize every text in every setting, and write the ids beside this script."""
    from transformers import AlbertTokenizer

    parts = [f'"settings": {json.dumps(SETTINGS)}']
    for kind, texts in ("texts", TEXTS), ("special", SPECIAL):
        ids = {}
        for name, settings in SETTINGS.items():
            plain = kind == "texts"
            tokenizer = AlbertTokenizer(sys.argv[1], split_special_tokens=plain, **settings)
            pieces = map(tokenizer.tokenize, texts)
            ids[name] = [tokenizer.convert_tokens_to_ids(piece) for piece in pieces]
        lines = [
            json.dumps({"text": text, **{name: ids[name][n] for name in ids}})
            for n, text in enumerate(texts)
        ]
        parts.append(f'"{kind}": [\n  ' + ",\n  ".join(lines) + "\n]")
    golden = "{" + ",\n ".join(parts) + "}\n"
    Path(__file__).with_name("tokenizer_golden.json").write_text(golden, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Write added_tokens_golden.json: the ids of Hugging Face's slow tokenizers with added tokens.

Run it with `transformers==4.57.*` and `sentencepiece`, in an environment of its own (they are no
dependency of the package or of its tests):

    python tests/data/make_added_tokens_golden.py 30k-clean.model

Each case is a folder with a vocabulary, the published one of albert-*-v2 or wordpiece_vocab.txt,
and other files of a tokenizer.  The names of special tokens are in no text: here they are text.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

TEXTS = [
    "[E1] Paris [/E1] is here",
    "[e1] paris [/e1] is HERE[E1]now[/E1].",
    "the[E1][/E1][E1] 9,[E1]9, x [ E1 ]",
    "  [E1]  café\u0301 [/E1]  ",
    "NEWTOK newtok NewTok renewtoks newtok, newtok",
    "<ent> <ENT> a<ent>b <e> <entity> <entity1>",
    "",
    "plain words only, in 1999, of course",
    "漢字 and 株 ㈱ \u0130 [E1]\u3000\u00a0[/E1]",
    "paris Paris pàris xparis the",
]
PAIRS = [["[E1] Paris [/E1] is here", "the capital of [E1] France"], ["a b c", "d"]]


def entry(content: str, **options: bool) -> dict[str, Any]:
    plain = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return {"content": content, **plain, "special": False, **options}


def decoder(first: int, *tokens: dict[str, Any]) -> dict[str, Any]:
    return {str(first + n): token for n, token in enumerate(tokens)}


def cases(first: int, albert: bool) -> dict[str, dict[str, Any]]:
    """Make the files of each case; `first` is the number of pieces."""
    special = {"special": True}
    marks = entry("[E1]", **special), entry("[/E1]", **special)
    listed = {"additional_special_tokens": ["[E1]", "[/E1]"]}
    config: dict[str, dict[str, Any]] = {
        "decoder": {"added_tokens_decoder": decoder(first, *marks), **listed},
        "decoder_only": {"added_tokens_decoder": decoder(first, *marks)},
        "decoder_plain": {"added_tokens_decoder": decoder(first, entry("[E1]"), entry("[/E1]"))},
        "normalized": {
            "added_tokens_decoder": decoder(
                first, entry("NEWTOK", normalized=True), entry("newtok", normalized=True)
            )
        },
        "strips": {
            "added_tokens_decoder": decoder(
                first, entry("[E1]", lstrip=True, **special), entry("[/E1]", rstrip=True, **special)
            ),
            **listed,
            **({"remove_space": False} if albert else {}),
        },
        "single_word": {
            "added_tokens_decoder": decoder(
                first,
                entry("newtok", single_word=True),
                entry("[E1]", single_word=True, **special),
                entry("[/E1]", single_word=True, lstrip=True, rstrip=True, **special),
            ),
            **listed,
        },
        "overlapping": {
            "added_tokens_decoder": decoder(
                first, entry("<e"), entry("<ent>"), entry("<entity>"), entry("ntity1"), entry("ty")
            )
        },
        "over_pieces": {
            "added_tokens_decoder": {"20": entry("[E1]", **special), "21": entry("株")},
            **listed,
        },
        "a_piece": {"added_tokens_decoder": decoder(first, entry("paris"), entry("the"))},
        "unlisted_ids": {"additional_special_tokens": ["[E1]", "paris", "[/E1]"]},
        "extra": {"extra_special_tokens": {"first_token": "[E1]", "last_token": "[/E1]"}},
        "ends": {"bos_token": "<b>", "eos_token": "<end>", "additional_special_tokens": ["[E1]"]},
        "cased": {
            "do_lower_case": False,
            "added_tokens_decoder": decoder(first, *marks, entry("NewTok", normalized=True)),
        },
        "left": {"truncation_side": "left"},
    }
    found: dict[str, dict[str, Any]] = {
        name: {"tokenizer_config.json": values} for name, values in config.items()
    }
    added = {"[E1]": first, "[/E1]": first + 1, "NEWTOK": first + 2}
    found["legacy"] = {"added_tokens.json": added, "special_tokens_map.json": listed}
    found["legacy_unlisted"] = {"added_tokens.json": added}
    found["legacy_map"] = {"special_tokens_map.json": {"additional_special_tokens": [marks[0]]}}
    found["renamed"] = {
        "added_tokens.json": {"<cls>": first, "<sep>": first + 1, "[E1]": first + 2},
        "special_tokens_map.json": {
            "cls_token": "<cls>",
            "sep_token": entry("<sep>"),
            **({"bos_token": "<cls>", "eos_token": "<sep>"} if albert else {}),
        },
    }
    found["ignored"] = {  # with a decoder the other files do not count
        "tokenizer_config.json": {"added_tokens_decoder": decoder(first, *marks)},
        "added_tokens.json": {"newtok": first + 2},
        "special_tokens_map.json": listed,
    }
    fast = [{"id": first + n, **mark} for n, mark in enumerate(marks)]
    found["beside_fast"] = {"tokenizer.json": {"version": "1.0", "added_tokens": fast}}
    return found


def main() -> None:
    """Tokenize every text in every case, and write files and ids beside this script."""
    from transformers import AlbertTokenizer, BertTokenizer

    here = Path(__file__).parent
    vocabularies: list[tuple[Any, str, Path]] = [
        (AlbertTokenizer, "spiece.model", Path(sys.argv[1])),
        (BertTokenizer, "vocab.txt", here / "wordpiece_vocab.txt"),
    ]
    lines = []
    for kind, name, vocabulary in vocabularies:
        with tempfile.TemporaryDirectory() as empty:
            shutil.copy(vocabulary, f"{empty}/{name}")
            first = kind.from_pretrained(empty).vocab_size
        for case, files in cases(first, kind is AlbertTokenizer).items():
            with tempfile.TemporaryDirectory() as folder:
                shutil.copy(vocabulary, f"{folder}/{name}")
                for file, values in files.items():
                    Path(folder, file).write_text(json.dumps(values))
                tokenizer = kind.from_pretrained(folder)
            ids = [tokenizer(text)["input_ids"] for text in TEXTS]
            pairs = [
                tokenizer(*pair, max_length=n, truncation=True)["input_ids"]
                for pair in PAIRS
                for n in (7, 8, 20)
            ]
            cut = [tokenizer(text, max_length=5, truncation=True)["input_ids"] for text in TEXTS]
            row = {"vocabulary": name, "case": case, "files": files, "ids": ids}
            lines.append(json.dumps({**row, "pairs": pairs, "cut": cut}))
    head = f'"texts": {json.dumps(TEXTS)},\n"pairs": {json.dumps(PAIRS)}'
    golden = "{" + head + ',\n"cases": [\n  ' + ",\n  ".join(lines) + "\n]}\n"
    (here / "added_tokens_golden.json").write_text(golden, encoding="utf-8")


if __name__ == "__main__":
    main()

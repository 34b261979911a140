"""What the pages and the docstrings show runs, and gives the results that they state."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import json
import pkgutil
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from click.testing import CliRunner

import albert_edge
from albert_edge import cli

ROOT = Path(__file__).parents[1]
SLOW = {"albert_edge.conversion"}  # converts a model
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "web_demo/README.md"]
# Why a block of commands is not run, as its title says: it needs a board, a phone, an accelerator
# or a browser; it trains for minutes; it downloads.
MARKS = ("device", "long", "download")
LANGUAGES = ("html", "js", "kotlin", "python", "shell", "text", "toml")
_FENCE = re.compile(r'^ *```(\w*)(?: title="(.*)")?$')
# Few measurements are as good as many, if only that they work is tested.
_CHEAP = {
    "benchmark": {"rounds": 1, "runs": 1, "min_time": 0.01, "force": True},
    "convert": {"force": True},
    "compress": {"force": True},
}


class Block(NamedTuple):
    """A block of code on a page."""

    place: str
    language: str
    mark: str | None
    code: str


def blocks(page: Path) -> Iterator[Block]:
    opened: tuple[int, str, str | None] | None = None
    code: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if not line.lstrip().startswith("```"):
            code.append(line)
        elif opened is None:
            match = _FENCE.match(line)
            assert match, f"{page.name}:{number}: {line}"
            opened, code = (number, match[1], match[2]), []
        else:
            number, language, mark = opened
            yield Block(f"{page.name}:{number}", language, mark, "\n".join(code) + "\n")
            opened = None
    assert opened is None, page.name


def commands(block: Block) -> Iterator[list[str]]:
    """Yield the words of every command, of which each is on a line of its own or behind `&&`."""
    for line in block.code.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word != "&&":
                words.append(word)
            elif words:
                yield words
                words = []


ALL_BLOCKS = [block for page in PAGES for block in blocks(page)]
COMMANDS = [
    pytest.param(words, id=f"{block.place} {shlex.join(words)[:60]}")
    for block in ALL_BLOCKS
    if block.language == "shell"
    for words in commands(block)
]


def test_every_block_has_a_language_and_a_known_mark() -> None:
    for block in ALL_BLOCKS:
        assert block.language in LANGUAGES, block.place
        assert block.mark is None or block.mark in MARKS, block.place
        assert block.mark is None or block.language in ("python", "shell"), block.place


def test_most_blocks_run() -> None:
    """`pytest -rP` lists those that do not: their commands are only parsed."""
    code = [block for block in ALL_BLOCKS if block.language in ("python", "shell")]
    for block in code:
        if block.mark:
            print(f"{block.mark}, {block.place}:\n{block.code}")  # noqa: T201
    count = Counter(block.mark for block in code)
    assert count[None] > sum(count[mark] for mark in MARKS if mark != "device")


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_these_options(words: list[str]) -> None:
    program = words[0].rpartition("/")[2]
    if program == "albert-edge":
        parse(words[1:])
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text()
        assert all(re.search(f"^{target}:", makefile, re.M) for target in words[1:])
    elif program in ("python", "python3") and words[1] == "-m" and words[2] != "venv":
        assert importlib.util.find_spec(words[2])
    elif program == "pip":
        for extra in re.findall(r"\[(.*)\]", words[-1]):
            assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text()


def parse(words: list[str]) -> None:
    """Read a command's words as `albert-edge` does, but leave the files alone.

    Raises:
        click.UsageError: There is no such verb, option or choice.
    """
    group = click.Context(cli._group, info_name="albert-edge")
    _, verb, rest = cli._group.resolve_command(group, list(words))
    assert verb is not None
    context = click.Context(verb, info_name=words[0], parent=group)
    values, _, _ = verb.make_parser(context).parse_args(without_redirections(rest)[0])
    for parameter in verb.get_params(context):
        if parameter.name in values and isinstance(parameter.type, click.Choice):
            parameter.type_cast_value(context, values[parameter.name])


def without_redirections(words: list[str]) -> tuple[list[str], dict[str, str]]:
    kept, files = list(words), {}
    for sign in "<>":
        if sign in kept:
            index = kept.index(sign)
            files[sign] = kept[index + 1]
            del kept[index : index + 2]
    return kept, files


@pytest.mark.parametrize(
    "words", ["benhcmark x", "convert x --tagret web", "convert x --target wbe", "run x --top-k"]
)
def test_a_wrong_command_is_found(words: str) -> None:
    with pytest.raises(click.UsageError):
        parse(words.split())


REVIEWS = ("a quiet, moving film\tpositive", "a dull plot\tnegative", "a fine cast\tpositive")
TEXTS = {
    "article.txt": "Ada wrote it in 1843. Charles built the machine. Nobody else read it.",
    "dev-v2.0.json": json.dumps(
        {
            "version": "v2.0",
            "data": [
                {
                    "paragraphs": [
                        {
                            "context": "Ada wrote it in 1843.",
                            "qas": [
                                {
                                    "id": "1",
                                    "question": "Who wrote it?",
                                    "is_impossible": False,
                                    "answers": [{"text": "Ada", "answer_start": 0}],
                                }
                            ],
                        }
                    ]
                }
            ],
        }
    ),
    "questions.txt": "Where is my card?\nHow do I pay?\nWho was that?\nWhen does it open?\n",
    "reviews.csv": "\n".join(["text,label", *REVIEWS]).replace(", ", " ").replace("\t", ","),
    "reviews.tsv": "\n".join(["text\tlabel", *REVIEWS]),
    "reviews.txt": "".join(line.partition("\t")[0] + "\n" for line in REVIEWS),
    "texts.txt": "a quiet, moving film\na dull plot\n" * 8,
}
# The files of models that the pages name, and what makes each of the tiny checkpoint.
CONVERTED = {
    "my.tflite": "my-albert",
    "gpu.tflite": "my-albert --target gpu",
    "float32.tflite": "my-albert --quantize float32",
    "names.tflite": "names --task token-classification",
    "order.tflite": "order --task sentence-order",
    "shape.tflite": "my-albert",
    "words.tflite": "words --task fill-mask",
}
SAME = {
    "after.json": "report.json",
    "before.json": "report.json",
    "int8.tflite": "my.tflite",
    "model.tflite": "encoder.tflite",
    "pairs.tflite": "my.tflite",
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny checkpoints with the embedded tokenizer, one for each task that the pages need."""
    from albert_edge.checkpoints import read_checkpoint, write_checkpoint
    from albert_edge.checkpoints.init import init_model

    folder = tmp_path_factory.mktemp("checkpoints")
    whole = read_checkpoint("default")
    narrow = {"embedding_size": 32, "hidden_size": 64, "intermediate_size": 128}
    small = {"num_hidden_layers": 2, "num_attention_heads": 2, "early_exit": False}
    config = replace(whole.config, **narrow, **small, initializer_range=0.2)
    for name, task in {
        "my-albert": "classification",
        "names": "token-classification",
        "order": "sentence-order",
        "words": "fill-mask",
    }.items():
        labels = ("O", "B-PER") if task == "token-classification" else config.labels
        shape = replace(config, labels=labels)
        checkpoint = replace(whole, config=shape, tensors=init_model(shape, task), task=task)
        write_checkpoint(folder / name, checkpoint)
    return folder


@pytest.fixture(scope="module")
def make_file(checkpoints: Path) -> Callable[[str], Path]:
    """A function that returns a file or folder by the name that the pages give it."""

    def make(name: str) -> Path:
        path = checkpoints / SAME.get(name, name)
        if path.exists():
            return path
        if name in TEXTS:
            path.write_text(TEXTS[name], encoding="utf-8")
        elif path.name in ("encoder.tflite", "qa.tflite"):
            model = {"encoder.tflite": "embeddings", "qa.tflite": "questions"}[path.name]
            path.hardlink_to(ROOT / "albert_edge/models" / model / "model.tflite")
        elif path.name == "report.json":
            run("albert-edge", "benchmark", make("int8.tflite"), "--json", path)
        else:
            run("albert-edge", "convert", *CONVERTED[path.name].split(), "-o", path)
        return path

    return make


@pytest.fixture
def workplace(
    tmp_path_factory: pytest.TempPathFactory,
    checkpoints: Path,
    make_file: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], None]:
    """A function that enters a new folder with the files that a text names."""

    def enter(text: str) -> None:
        folder = tmp_path_factory.mktemp("page")
        monkeypatch.chdir(checkpoints)
        for name in (*TEXTS, *CONVERTED, *SAME, "encoder.tflite", "qa.tflite", "report.json"):
            if re.search(rf"\b{re.escape(name)}\b", text):
                shutil.copy(make_file(name), folder / name)
        shutil.copytree(checkpoints / "my-albert", folder / "my-albert")
        (folder / "spiece.model").hardlink_to(folder / "my-albert" / "spiece.model")
        monkeypatch.chdir(folder)

    return enter


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs(page: Path, workplace: Callable[[str], None]) -> None:
    names: dict[str, Any] = {}
    code = [block for block in blocks(page) if block.mark is None]
    if shell := [block for block in code if block.language == "shell"]:
        workplace("".join(block.code for block in shell))
    for block in shell:
        for words in commands(block):
            if words[0] == "albert-edge":
                run(*words)
    for block in code:
        if block.language == "python":
            workplace(block.code)
            exec(compile(block.code, block.place, "exec"), names)  # noqa: S102 (the page's own)


def expanded(word: str) -> list[str]:
    return sorted(str(path) for path in Path().glob(word)) if "*" in word else [word]


def run(*words: object) -> None:
    """Run a command of `albert-edge`, as a shell would."""
    kept, redirected = without_redirections([str(word) for word in words[1:]])
    arguments = [name for word in kept for name in expanded(word)]
    typed = Path(redirected["<"]).read_text() if "<" in redirected else ""
    done = CliRunner().invoke(cli._group, arguments, input=typed, default_map=_CHEAP)
    assert done.exit_code == 0, f"{words}\n{done.output}\n{done.exception!r}"
    if ">" in redirected:
        Path(redirected[">"]).write_text(done.stdout)


def messages() -> Iterator[str]:
    """Yield the texts in the package's sources, with `...` for what is put into them."""
    for path in (ROOT / "albert_edge").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "..."
                    for part in node.values
                )


def test_the_quoted_messages_are_those_of_the_sources() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall("^### `(.*)`$", page, re.MULTILINE)
    assert len(quoted) == len(set(quoted)) == page.count("\n### ")
    sources = list(messages())
    for message in quoted:
        pattern = re.compile(".*".join(map(re.escape, message.split("..."))), re.DOTALL)
        assert any(map(pattern.search, sources)), message


def test_every_name_of_the_api_is_described() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    shown = re.findall(r"^::: (albert_edge\S*)$", page, re.MULTILINE)
    listed = {f"albert_edge.{name}" for name in albert_edge.__all__} - {
        "albert_edge.AlbertEdgeError"  # with all errors
    }
    assert listed <= {*shown}
    for name in shown:
        described = pkgutil.resolve_name(name)
        assert described.__doc__, name
        for member, value in vars(described).items():
            if inspect.isclass(described) and inspect.isfunction(value) and member[0] != "_":
                assert value.__doc__, f"{name}.{member}"


def modules() -> Iterator[object]:
    """Yield the modules that have examples which are not all skipped."""
    for path in sorted((ROOT / "albert_edge").rglob("*.py")):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if ">>> " in line]
        if any("+SKIP" not in line for line in lines):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            name = name.removesuffix(".__init__")
            yield pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name


@pytest.mark.parametrize("name", list(modules()))
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    results = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize("name", ["wordpiece", "sentencepiece", "base", "protobuf"])
def test_the_tokenizer_has_an_example_in_every_part(name: str) -> None:
    module = importlib.import_module(f"albert_edge.tokenizer.{name}")
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS) == (0, 1)

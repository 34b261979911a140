"""`albert_edge.sweep.plan`: what a plan may say, and the trials that it makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from albert_edge.errors import AlbertEdgeError, ConfigError
from albert_edge.sweep.plan import KNOBS, METHODS, Plan, compression_options, read_plan

BASE = 'model = "default"\ndev = "dev.tsv"\ntrain = "train.tsv"\ncorpus = "texts.txt"\n'


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    for name in ("dev.tsv", "train.tsv", "texts.txt"):
        (tmp_path / name).write_text("text\tlabel\n")
    return tmp_path / "plan.toml"


def read(path: Path, text: str) -> Plan:
    path.write_text(text)
    return read_plan(path)


def test_every_combination_is_a_trial_and_a_seed_is_one_of_training(plan: Path) -> None:
    made = read(
        plan,
        BASE + '[knobs]\nquantize = ["int8", "int4"]\nfinetune = [false, {}]\nseed = [0, 1]\n',
    )
    trials = made.trials()
    assert [trial.name for trial in trials] == [f"trial-{number}" for number in range(1, 7)]
    knobs = [
        (trial.knobs["quantize"], trial.knobs["finetune"], trial.knobs["seed"]) for trial in trials
    ]
    assert knobs == [
        ("int8", False, None),
        ("int4", False, None),
        ("int8", {}, 0),
        ("int4", {}, 0),
        ("int8", {}, 1),
        ("int4", {}, 1),
    ]
    assert made.dev == plan.parent / "dev.tsv"


def test_every_method_of_compression_is_a_value(plan: Path) -> None:
    tables = ", ".join(f'{{with = "{name}", epochs = 1}}' for name in METHODS)
    made = read(plan, BASE + f"[knobs]\ncompress = [false, {tables}]\n")
    values = [trial.knobs["compress"] for trial in made.trials()]
    assert [value and value["with"] for value in values] == [False, *METHODS]
    method, options = compression_options({"with": "prune", "sparsity": 0.7, "epochs": 1}, seed=3)
    narrow, _ = compression_options({"with": "narrow", "heads": 2, "ffn_channels": "50%"})
    assert (narrow.heads, narrow.ffn_channels) == ("2", "50%")  # type: ignore[union-attr]
    assert (method.sparsity, options.epochs, options.seed) == (0.7, 1, 3)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('modell = "a"', r"has no key 'modell' \(did you mean model\?\)"),
        ('model = "default"', "lacks the key dev"),
        ('model = 3\ndev = "a"', "model must be str, not 3"),
        ("model = ", "is not TOML: Invalid value"),
        (BASE + "knobs = 3", "knobs must be a table"),
        (BASE + "[knobs]\nquantise = []", r"'quantise' \(did you mean quantize\?\)"),
        (BASE + '[knobs]\nquantize = "int8"', "must be a list of values"),
        (BASE + '[knobs]\nquantize = ["int9"]', r"'int9' \(did you mean int8\?\)"),
        (BASE + '[knobs]\nkeep = ["head=float32"]', "must be lists of PART=TYPE"),
        (BASE + '[knobs]\nkeep = [["layer.ffn_outputs=float32"]]', "did you mean layer.ffn_output"),
        (BASE + "[knobs]\npasses = [0]", 'must be "all" or numbers of passes'),
        (BASE + '[knobs]\nvocabulary = ["some"]', 'must be "all", "needed" or numbers of pieces'),
        (BASE + "[knobs]\nseed = [0.5]", "seed must be int, not 0.5"),
        (BASE + "[knobs]\nfinetune = [{epoch = 1}]", r"'epoch' \(did you mean epochs\?\)"),
        (BASE + "[knobs]\nfinetune = [{epochs = true}]", "epochs must be int, not True"),
        (BASE + "[knobs]\nfinetune = [{epochs = 0}]", "epochs must be at least 1, not 0"),
        (BASE + '[knobs]\ncompress = [{with = "prun"}]', r"'prun' \(did you mean prune\?\)"),
        (BASE + "[knobs]\ncompress = [{sparsity = 0.5}]", "has no key 'None'"),
        (BASE + '[knobs]\ncompress = [{with = "prune", clusters = 2}]', "has no key 'clusters'"),
        (BASE + '[knobs]\ncompress = [{with = "prune", sparsity = 2.0}]', "sparsity must be in"),
        (BASE + "[search]\ntrials = 2", "needs the range of one of learning_rate, epochs"),
        (BASE + "[search]\nepochs = [1, 2]", "lacks the key trials"),
        (BASE + "[search]\ntrials = 2\nepochs = [3, 2]", "least and the greatest value"),
        (
            BASE + "[search]\ntrials = 2\nepochs = [1, 2]\noptions = {epoch = 1}",
            r"did you mean epochs\?",
        ),
        (BASE + "[search]\ntrials = 0\nepochs = [1, 2]", "trials and at_once must be at least 1"),
        (BASE + "[evaluate]\nlimits = 3", r"'limits' \(did you mean limit\?\)"),
        (BASE + "[benchmark]\nrounds = 0", "rounds and runs must be at least 1"),
        ('model = "default"\ndev = "dev.tsv"\n[knobs]\nfinetune = [{}]', "need a key train"),
        ('model = "default"\ndev = "dev.tsv"\n[knobs]\nvocabulary = [9]', "needs a key corpus"),
    ],
)
def test_a_mistake_is_one_clear_error(plan: Path, text: str, message: str) -> None:
    with pytest.raises(AlbertEdgeError, match=message):
        read(plan, text)


def test_the_plans_of_the_page_are_plans(plan: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "sweeps.md"
    first, search = (part.partition("```")[0] for part in page.read_text().split("```toml\n")[1:])
    made = read(plan, first + search)
    assert made.search is not None
    assert made.search.options == {"max_length": 64}
    assert (
        {*made.knobs} == {*KNOBS} == {name for name in KNOBS if f"| `{name}` |" in page.read_text()}
    )


def test_files_that_are_missing_are_named(plan: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*other\.toml"):
        read_plan(plan.with_name("other.toml"))
    made = read(plan, BASE)
    (plan.parent / "dev.tsv").unlink()
    with pytest.raises(ConfigError, match=r"cannot read .*dev\.tsv: No such file"):
        made.inputs()


def test_what_the_rows_depend_on_changes_its_digest(plan: Path) -> None:
    first = read(plan, BASE + "[evaluate]\nlimit = 3\n[benchmark]\nrounds = 2\n")
    before = first.digests(first.inputs())
    again = read(plan, BASE + "[evaluate]\nlimit = 4\n[benchmark]\nrounds = 3\n")
    (plan.parent / "train.tsv").write_text("text\tlabel\nfine\t1\n")
    after = again.digests(again.inputs())
    assert [name for name in after if before[name] != after[name]] == ["train", "evaluate"]

"""AlbertConfig: what it takes, what it refuses, and that it round-trips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_edge.config import ACTIVATIONS, PRESETS, AlbertConfig, preset
from albert_edge.errors import AlbertEdgeError, ConfigError
from albert_edge.tasks import PROBLEM_TYPES

PARITY = sorted((Path(__file__).parent / "data" / "parity").iterdir())

BERT = {  # what google-bert/bert-base-uncased says
    "architectures": ["BertForMaskedLM"],
    "hidden_act": "gelu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "model_type": "bert",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "type_vocab_size": 2,
    "vocab_size": 30522,
}
TINY = {
    "vocab_size": 9,
    "embedding_size": 4,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


@st.composite
def configs(draw: st.DrawFn) -> AlbertConfig:
    heads, groups = draw(st.integers(1, 16)), draw(st.integers(1, 6))
    passes = groups + draw(st.integers(0, 20))
    labels = tuple(draw(st.lists(st.text(), min_size=1, max_size=5, unique=True)))
    return AlbertConfig(
        vocab_size=draw(st.integers(1, 50000)),
        embedding_size=draw(st.integers(1, 512)),
        hidden_size=heads * draw(st.integers(1, 64)),
        num_attention_heads=heads,
        num_hidden_groups=groups,
        num_hidden_layers=passes,
        inner_group_num=draw(st.integers(1, 3)),
        hidden_act=draw(st.sampled_from(ACTIVATIONS)),
        hidden_dropout_prob=draw(st.floats(0, 0.99)),
        labels=labels,
        early_exit=groups == 1 < min(passes, len(labels)) and draw(st.booleans()),
    )


@settings(deadline=None)
@given(configs())
def test_round_trips(config: AlbertConfig) -> None:
    assert AlbertConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert AlbertConfig.from_huggingface(json.loads(config.to_json())) == config


@settings(deadline=None)
@given(configs())
def test_every_pass_has_a_group_and_every_group_a_pass(config: AlbertConfig) -> None:
    groups = [config.group_of_layer(index) for index in range(config.num_hidden_layers)]
    assert groups == sorted(groups)
    assert set(groups) == set(range(config.num_hidden_groups))
    counts = [config.passes_of_group(group) for group in range(config.num_hidden_groups)]
    assert sum(counts) == config.num_hidden_layers


@pytest.mark.parametrize("directory", PARITY, ids=lambda path: path.name)
def test_reads_what_transformers_writes(directory: Path) -> None:
    config = AlbertConfig.read(directory / "config.json")
    written = json.loads((directory / "config.json").read_text())
    values = config.to_huggingface()
    assert {key: values[key] for key in written.keys() & AlbertConfig.__slots__} == {
        key: written[key] for key in written.keys() & AlbertConfig.__slots__
    }


_KEYS = st.sampled_from(
    [*AlbertConfig.__slots__, "model_type", "id2label", "num_labels", "position_embedding_type"]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.dictionaries(_KEYS, _VALUES), st.booleans())
def test_any_json_gives_a_config_or_one_clear_error(values: dict[str, object], whole: bool) -> None:
    for read in (AlbertConfig.from_huggingface, AlbertConfig.from_dict):
        try:
            config = read({**TINY, **values} if whole else values)
        except AlbertEdgeError:
            continue
        assert AlbertConfig.from_dict(config.to_dict()) == config


def test_the_width_of_a_head_is_written_only_where_heads_are_fewer() -> None:
    usual = AlbertConfig()
    assert "head_dim" not in usual.to_huggingface()
    assert (usual.head_size, usual.attention_size) == (64, 768)
    narrowed = AlbertConfig(num_attention_heads=5, head_dim=64)  # 5 does not divide 768
    assert AlbertConfig.from_huggingface(narrowed.to_huggingface()) == narrowed
    assert (narrowed.head_size, narrowed.attention_size) == (64, 320)
    assert narrowed.product_sizes()["attention_output"] == (320, 768)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_give_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, blob: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "config.json"
    path.write_bytes(blob)
    with pytest.raises(ConfigError, match=r"config\.json"):
        AlbertConfig.read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 770}, "multiple of num_attention_heads 12"),
        ({"head_dim": 65}, "from 1 to hidden_size 768 / num_attention_heads 12, or none, not 65"),
        ({"head_dim": 0}, "head_dim must be a whole number"),
        ({"head_dim": 64.0}, "head_dim must be a whole number"),
        ({"num_hidden_groups": 13}, "a group would never be used"),
        ({"hidden_act": "swish"}, "not one of gelu, gelu_new, gelu_pytorch_tanh, relu"),
        ({"vocab_size": 0}, "vocab_size must be a whole number"),
        ({"vocab_size": True}, "vocab_size must be a whole number"),
        ({"hidden_dropout_prob": 1}, r"in \[0, 1\)"),
        ({"layer_norm_eps": float("nan")}, r"in \(0, 1\)"),
        ({"labels": ("a", "a")}, "distinct"),
        ({"labels": ()}, "at least one"),
        ({"pad_token_id": "0"}, "pad_token_id must be a whole number"),
        ({"early_exit": 1}, "early_exit must be true or false"),
        ({"family": "gpt"}, "family 'gpt' is not one of albert, bert"),
        ({"early_exit": True, "labels": ("a",)}, "one of several labels for each input, not regr"),
        (
            {"early_exit": True, "problem_type": PROBLEM_TYPES["multi-label"]},
            "for each input, not multi-label",
        ),
        ({"early_exit": True, "num_hidden_groups": 2}, "one hidden group, not 2"),
        ({"early_exit": True, "num_hidden_layers": 1}, "at least two passes"),
    ],
)
def test_contradictions_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AlbertConfig(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (BERT, "model_type is 'bert', expected 'albert'"),
        ({key: BERT[key] for key in BERT if key != "model_type"}, "no embedding_size"),
        ({**TINY, "num_hidden_group": 2}, "did you mean 'num_hidden_groups'"),
        (
            {key: TINY[key] for key in TINY if key != "num_attention_heads"},
            "no num_attention_heads",
        ),
        ({**TINY, "position_embedding_type": "relative_key"}, "relative_key"),
        ({**TINY, "id2label": {"0": "a", "2": "b"}}, "number the labels 0, 1, 2"),
        ({**TINY, "id2label": {"zero": "a"}}, "zero"),
        ({**TINY, "num_labels": 10**12}, "num_labels"),
        ([], "expected a JSON object, got list"),
    ],
)
def test_foreign_configs_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^here: .*{message}"):
        AlbertConfig.from_huggingface(values, where="here")


def test_missing_file() -> None:
    with pytest.raises(ConfigError, match=r"cannot read nowhere/config\.json: No such file"):
        AlbertConfig.read("nowhere/config.json")


def test_a_config_of_transformers_2_is_read() -> None:
    old = {
        **{key: TINY[key] for key in TINY if key not in ("id2label", "labels")},
        "eos_token_ids": 0,
        "bos_token_ids": None,
        "pad_token_ids": [0],
        "pad_token_id": -1,
        "output_past": True,
        "net_structure_type": 0,
        "id2label": ["dull", "fine", "great"],
    }
    config = AlbertConfig.from_huggingface(old)
    assert config.labels == ("dull", "fine", "great")
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (0, 2, 3)


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'hidden_size'"):
        AlbertConfig.from_dict({"hiden_size": 8})
    with pytest.raises(ConfigError, match="did you mean 'albert-base-v2'"):
        preset("albert-base-v3")


def test_presets_are_the_published_ones() -> None:
    sizes = ("base", "large", "xlarge", "xxlarge")
    assert list(PRESETS) == [f"albert-{size}-v{version}" for version in (1, 2) for size in sizes]
    assert preset("albert-base-v2") == AlbertConfig()
    assert {config.hidden_act for name, config in PRESETS.items() if "v1" in name} == {"gelu"}


@pytest.mark.parametrize("problem", [None, *PROBLEM_TYPES.values()])
def test_the_problem_survives_config_json(problem: str | None) -> None:
    config = AlbertConfig(problem_type=problem)
    written = config.to_huggingface()
    assert written.get("problem_type") == problem
    assert ("problem_type" in written) == (problem is not None)
    assert AlbertConfig.from_huggingface(written) == config
    assert AlbertConfig.from_dict(config.to_dict()) == config
    assert PROBLEM_TYPES[config.kind] == (problem or "single_label_classification")


def test_one_label_alone_is_a_number() -> None:
    assert AlbertConfig(labels=("stars",)).kind == "regression"
    several = AlbertConfig(labels=("a",), problem_type="multi_label_classification")
    assert several.kind == "multi-label"
    with pytest.raises(ConfigError, match="problem_type 'ranking' is not one of single_label"):
        AlbertConfig(problem_type="ranking")


def test_early_exit_is_only_written_where_it_is() -> None:
    assert "early_exit" not in AlbertConfig().to_huggingface()
    assert AlbertConfig(early_exit=True).to_huggingface()["early_exit"] is True

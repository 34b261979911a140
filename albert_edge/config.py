"""The configuration of an ALBERT, with Hugging Face's field names, and the published presets.

`AlbertConfig` is validated when it is made, and reads and writes `config.json`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from albert_edge.errors import ConfigError
from albert_edge.files import dump_json, parse_json, read_input
from albert_edge.tasks import PROBLEM_TYPES

__all__ = [
    "ACCELERATORS",
    "FAMILIES",
    "LAYOUTS",
    "PRESETS",
    "PRODUCTS",
    "AlbertConfig",
    "check_accelerator",
]

FAMILIES = ("albert", "bert", "distilbert")
# `gelu` is the exact error-function form; `gelu_new` and `gelu_pytorch_tanh` are the tanh form.
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu")
_POSITIVE = (
    "vocab_size",
    "embedding_size",
    "hidden_size",
    "num_hidden_layers",
    "num_hidden_groups",
    "num_attention_heads",
    "intermediate_size",
    "inner_group_num",
    "max_position_embeddings",
    "type_vocab_size",
)
_REQUIRED = (
    "vocab_size",
    "embedding_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
)
_MAX_LABELS = 10**6  # each gets a name
_MAX_PASSES = 10**4  # loops go through them one by one; published models have at most 24
_TOKEN_IDS = ("pad_token_id", "bos_token_id", "eos_token_id")
# Keys of transformers 2 that are close to a field and are not read by later versions.
_OLD_KEYS = frozenset(f"{name}s" for name in _TOKEN_IDS)
_PROBABILITIES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob")
LAYOUTS: dict[str, str] = {
    "loop": "A loop over one layer: least RAM; for CPUs.",
    "unrolled": "A copy of the operators per pass, over the same weights; for GPUs and NPUs.",
    "split": "Signatures embed, layer and head; the host runs the passes; for Edge TPU.",
}
# The products of a layer, in their order, that `--target edgetpu` leaves to the chip.
PRODUCTS = ("query_key_value", "attention_output", "ffn_intermediate", "ffn_output")
# What runs a file: the CPU; a GPU, in float32 arithmetic or in the precision that its driver
# prefers, float16 where it has it (`gpu` is the former; in a benchmark, both); or an Edge TPU, any,
# one on USB or PCIe, or the N-th, from 0, of those that its library lists.
ACCELERATORS = (
    *("cpu", "gpu", "gpu:float32", "gpu:default"),
    *("edgetpu", "edgetpu:usb", "edgetpu:pci", "edgetpu:N"),
)


def check_accelerator(name: str) -> None:
    """Check that an accelerator is one of `ACCELERATORS`, with a number for N.

    Raises:
        ConfigError: It is none.
    """
    if name not in ACCELERATORS[:-1] and not re.fullmatch(r"edgetpu:\d{1,3}", name, re.ASCII):
        raise ConfigError(f"unknown accelerator {name!r}; choose from {', '.join(ACCELERATORS)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlbertConfig:
    """The hyperparameters of an ALBERT; the defaults are those of albert-base-v2.

    Lan et al. 2020, arXiv:1909.11942, table 1.  The encoder has `num_hidden_groups` groups of
    `inner_group_num` layers, and applies one group in each of its `num_hidden_layers` passes.  With
    `early_exit` each pass has its own head, so that inference can stop early on easy inputs (Zhou
    et al. 2020, arXiv:2006.04152); this needs a single group, and one label for each text or token,
    or questions.
    `family` is "albert", or "bert" or "distilbert" for a model of theirs: one group a pass, no
    projection of embeddings of the encoder's width, and in DistilBERT no token types, and ReLU
    instead of tanh in the pooler.  `head_dim` is the width of a head where heads were removed, as
    by `compress --with narrow`; without it, the heads share `hidden_size`.

    Example:
        >>> AlbertConfig(num_hidden_layers=24).group_of_layer(23)
        0
    """

    vocab_size: int = 30000
    embedding_size: int = 128
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_hidden_groups: int = 1
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    inner_group_num: int = 1
    hidden_act: str = "gelu_new"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    classifier_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    bos_token_id: int = 2
    eos_token_id: int = 3
    labels: tuple[str, ...] = ("LABEL_0", "LABEL_1")
    problem_type: str | None = None
    early_exit: bool = False
    family: str = "albert"
    head_dim: int | None = None

    def __post_init__(self) -> None:
        for name in (*_POSITIVE, *_TOKEN_IDS):
            value, low = getattr(self, name), int(name in _POSITIVE)
            # Sizes are int32 in a .tflite file.
            high = _MAX_PASSES if name == "num_hidden_layers" else 2**31 - 1
            if type(value) is not int or not low <= value <= high:
                raise ConfigError(
                    f"{name} must be a whole number in [{low}, {high}], not {value!r}."
                )
        for name in _PROBABILITIES:
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 <= value < 1:
                raise ConfigError(f"{name} must be a number in [0, 1), not {value!r}.")
        for name in ("initializer_range", "layer_norm_eps"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 < value < 1:
                raise ConfigError(f"{name} must be a number in (0, 1), not {value!r}.")
        self._check_heads()
        if self.num_hidden_groups > self.num_hidden_layers:
            raise ConfigError(
                f"num_hidden_groups {self.num_hidden_groups} exceeds "
                f"num_hidden_layers {self.num_hidden_layers}: a group would never be used."
            )
        if self.hidden_act not in ACTIVATIONS:
            raise ConfigError(
                f"hidden_act {self.hidden_act!r} is not one of {', '.join(ACTIVATIONS)}."
            )
        if not isinstance(self.labels, tuple) or not all(isinstance(x, str) for x in self.labels):
            raise ConfigError(f"labels must be a tuple of strings, not {self.labels!r}.")
        if not self.labels or len(set(self.labels)) != len(self.labels):
            raise ConfigError(f"labels must be distinct and at least one: {list(self.labels)}.")
        types = PROBLEM_TYPES.values()
        if self.problem_type not in (None, *types):
            raise ConfigError(
                f"problem_type {self.problem_type!r} is not one of {', '.join(types)}."
            )
        if type(self.early_exit) is not bool:
            raise ConfigError(f"early_exit must be true or false, not {self.early_exit!r}.")
        if self.family not in FAMILIES:
            raise ConfigError(f"family {self.family!r} is not one of {', '.join(FAMILIES)}.")
        if self.early_exit and (need := self._unmet_early_exit_need()):
            raise ConfigError(f"early_exit needs {need}; turn it off.")

    def _check_heads(self) -> None:
        width, heads, size = self.hidden_size, self.num_attention_heads, self.head_dim
        if size is None and width % heads:
            raise ConfigError(
                f"hidden_size {width} must be a multiple of num_attention_heads {heads}, or else "
                "head_dim the width of a head."
            )
        if size is not None and (type(size) is not int or not 0 < size * heads <= width):
            raise ConfigError(
                f"head_dim must be a whole number from 1 to hidden_size {width} / "
                f"num_attention_heads {heads}, or none, not {size!r}."
            )

    def _unmet_early_exit_need(self) -> str:
        if self.kind != "classification" or self.num_labels < 2:
            return f"one of several labels for each input, not {self.kind}"
        if self.num_hidden_groups > 1:
            return f"one hidden group, not {self.num_hidden_groups}: only one loop can stop early"
        return "" if self.num_hidden_layers > 1 else "at least two passes, not one"

    @property
    def has_projection(self) -> bool:
        """Whether the embeddings are projected to the encoder's width; an ALBERT's always are."""
        return self.family == "albert" or self.embedding_size != self.hidden_size

    @property
    def pooler_act(self) -> str:
        """The activation of the pooler, `tanh` or `relu`."""
        return "relu" if self.family == "distilbert" else "tanh"

    @property
    def num_labels(self) -> int:
        """The number of classes of a classification head."""
        return len(self.labels)

    @property
    def kind(self) -> str:
        """The kind of examples that a classification head is for, a key of `tasks.PROBLEM_TYPES`.

        Without a `problem_type` a single label means regression, as in transformers.
        """
        if self.problem_type is None:
            return "regression" if self.num_labels == 1 else "classification"
        return next(kind for kind, name in PROBLEM_TYPES.items() if name == self.problem_type)

    @property
    def labels_are_independent(self) -> bool:
        """Whether each label has a probability of its own; a single one has, as in transformers."""
        return self.kind == "multi-label" or self.num_labels == 1

    @property
    def head_size(self) -> int:
        """D, the width of one attention head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def attention_size(self) -> int:
        """N * D, the width of all attention heads: H, or less in a model that was narrowed."""
        return self.num_attention_heads * self.head_size

    def group_of_layer(self, index: int) -> int:
        """Return the group that is applied in pass `index`, in [0, num_hidden_layers).

        Consecutive passes share a group.  The division is in floating point, so that the result
        equals that of Google's and Hugging Face's implementations.
        """
        return int(index / (self.num_hidden_layers / self.num_hidden_groups))

    def passes_of_group(self, group: int) -> int:
        """Count the passes in which group `group`, in [0, num_hidden_groups), is applied."""
        return sum(self.group_of_layer(index) == group for index in range(self.num_hidden_layers))

    def product_prefix(self, group: int, index: int) -> str:
        """Return what the names of the products of a group's layer begin with.

        That is nothing where there is one layer, and otherwise `layer_`, its number and `_`.
        """
        if self.num_hidden_groups * self.inner_group_num == 1:
            return ""
        return f"layer_{group * self.inner_group_num + index}_"

    def product_sizes(self) -> dict[str, tuple[int, int]]:
        """Return the products of all layers: name → how many channels it reads and makes."""
        hidden, heads, inner = self.hidden_size, self.attention_size, self.intermediate_size
        shapes = ((hidden, 3 * heads), (heads, hidden), (hidden, inner), (inner, hidden))
        return {
            self.product_prefix(group, index) + name: shape
            for group in range(self.num_hidden_groups)
            for index in range(self.inner_group_num)
            for name, shape in zip(PRODUCTS, shapes, strict=True)
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AlbertConfig:
        """Make a config from `to_dict`'s result.

        Raises:
            ConfigError: A key is unknown or a value is invalid.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else "."
                raise ConfigError(f"unknown configuration key {key!r}{hint}")
        fields = dict(values)
        if isinstance(labels := fields.get("labels"), list):
            fields["labels"] = tuple(labels)
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """Return every field by its name, ready for JSON."""
        return {**dataclasses.asdict(self), "labels": list(self.labels)}

    @classmethod
    def from_huggingface(cls, values: Mapping[str, Any], *, where: str = "") -> AlbertConfig:
        """Make a config from the content of a Hugging Face `config.json`.

        Keys that are no field (`transformers_version`, `architectures`, ...) are ignored; a likely
        misspelling of a field is an error.

        Args:
            values: The parsed JSON object.
            where: The name of the file, for error messages.

        Raises:
            ConfigError: The model is not an ALBERT, a key is misspelt, or a value is invalid.
        """
        prefix = f"{where}: " if where else ""
        if not isinstance(values, Mapping):
            raise ConfigError(f"{prefix}expected a JSON object, got {type(values).__name__}.")
        if (kind := values.get("model_type", "albert")) != "albert":
            raise ConfigError(f"{prefix}model_type is {kind!r}, expected 'albert'.")
        if (positions := values.get("position_embedding_type", "absolute")) != "absolute":
            raise ConfigError(
                f"{prefix}position_embedding_type {positions!r} is not supported; "
                "published ALBERT checkpoints are 'absolute'."
            )
        known = {field.name for field in dataclasses.fields(cls)} - {"labels"}
        for key in values.keys() - known - _OLD_KEYS:
            if near := difflib.get_close_matches(key, known - values.keys(), n=1, cutoff=0.9):
                raise ConfigError(f"{prefix}unknown key {key!r}; did you mean {near[0]!r}?")
        # No defaults for these: the shapes of the tensors would not reveal a wrong number of heads.
        if missing := [name for name in _REQUIRED if name not in values]:
            raise ConfigError(f"{prefix}no {', '.join(missing)}; is it an ALBERT's config.json?")
        fields = {key: values[key] for key in known & values.keys() if values[key] is not None}
        for key in fields.keys() & set(_TOKEN_IDS):
            if fields[key] == -1:  # transformers 2 wrote -1 for none
                del fields[key]
        try:
            if names := values.get("id2label"):
                if isinstance(names, list):  # as transformers 2 wrote
                    names = dict(enumerate(names))
                pairs = sorted((int(index), str(name)) for index, name in names.items())
                if [index for index, _ in pairs] != list(range(len(pairs))):
                    raise ConfigError("id2label must number the labels 0, 1, 2, ...")
                fields["labels"] = tuple(name for _, name in pairs)
            elif count := values.get("num_labels"):
                if type(count) is not int or not 0 < count <= _MAX_LABELS:
                    raise ConfigError(f"num_labels must be in [1, {_MAX_LABELS}], not {count!r}.")
                fields["labels"] = tuple(f"LABEL_{index}" for index in range(count))
            return cls(**fields)
        except (ConfigError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"{prefix}{error}") from error

    def to_huggingface(self) -> dict[str, Any]:
        """Return the content of a Hugging Face `config.json`."""
        values = {
            key: value
            for key, value in self.to_dict().items()
            if key != "labels" and value is not None
        }
        if not self.early_exit:  # not a key of transformers, so written only where needed
            del values["early_exit"]
        if self.family == "albert":
            del values["family"]
        names = {str(index): label for index, label in enumerate(self.labels)}
        ids = {label: index for index, label in enumerate(self.labels)}
        return {"model_type": "albert", **values, "id2label": names, "label2id": ids}

    @classmethod
    def read(cls, path: str | Path) -> AlbertConfig:
        """Read a Hugging Face `config.json`.

        Raises:
            ConfigError: The file cannot be read, is not JSON, or is not an ALBERT's.
        """
        try:
            content = read_input(path)
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}.") from error
        values = parse_json(content, where=str(path), error=ConfigError)
        return cls.from_huggingface(values, where=str(path))

    def to_json(self) -> str:
        """Return the text of a Hugging Face `config.json`."""
        return dump_json(self.to_huggingface(), indent=2, sort_keys=True) + "\n"


def _presets() -> dict[str, AlbertConfig]:
    # Lan et al. 2020, table 1; the numbers of heads are from Google's published configurations.
    shapes = {
        "base": (768, 12, 12),
        "large": (1024, 24, 16),
        "xlarge": (2048, 24, 16),
        "xxlarge": (4096, 12, 64),
    }
    presets = {}
    for version, act, dropout in (("v1", "gelu", 0.1), ("v2", "gelu_new", 0.0)):
        for size, (width, layers, heads) in shapes.items():
            drop = 0.0 if size == "xxlarge" else dropout
            presets[f"albert-{size}-{version}"] = AlbertConfig(
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                intermediate_size=4 * width,
                hidden_act=act,
                hidden_dropout_prob=drop,
                attention_probs_dropout_prob=drop,
            )
    return presets


PRESETS: dict[str, AlbertConfig] = _presets()


def preset(name: str) -> AlbertConfig:
    """Return the published configuration called `name`.

    Raises:
        ConfigError: There is no such preset.

    Example:
        >>> preset("albert-large-v2").hidden_size
        1024
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(PRESETS)}."
        raise ConfigError(f"unknown preset {name!r}; {hint}")
    return PRESETS[name]

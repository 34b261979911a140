"""The plan of a sweep: a model, a dev set, and the knobs whose values are combined.

`read_plan` reads it from TOML; `Plan.trials` makes every combination.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from albert_edge.benchmark.config import BenchmarkConfig
from albert_edge.checkpoints import read_checkpoint
from albert_edge.datasets import EvaluateOptions
from albert_edge.errors import ConfigError
from albert_edge.files import dump_json, read_input
from albert_edge.quantization.recipes import RECIPES, get_recipe, override_precision
from albert_edge.training.compression.methods import METHODS, Method, default_options
from albert_edge.training.options import FinetuneOptions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["read_plan"]

_Options = TypeVar("_Options")
_EVALUATE = (
    *("limit", "text_column", "pair_column", "label_column", "quoting", "skip_bad"),
    *("null_threshold", "bullets"),
)
_FILES = ("dev", "train", "calibration", "corpus")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One combination of values.

    Attributes:
        name: Its name, and that of its file.
        knobs: The value of every knob, ready for JSON.
    """

    name: str
    knobs: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search for training options of `finetune`.

    Attributes:
        trials: Number of trials.
        seed: Seed of what is drawn.
        at_once: Number of trials that are drawn before the results of any of them are used.
        options: The other training options, as in the knob `finetune`.
        learning_rate, epochs, batch_tokens: Least and greatest value; None to leave it out.
    """

    trials: int
    seed: int = 0
    at_once: int = 4
    options: dict[str, Any] = field(default_factory=dict)
    learning_rate: tuple[float, ...] | None = None
    epochs: tuple[int, ...] | None = None
    batch_tokens: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if min(self.trials, self.at_once) < 1 or self.seed < 0:
            raise ConfigError(
                "[search]: trials and at_once must be at least 1, and seed at least 0."
            )
        if not self.ranges:
            raise ConfigError(f"[search] needs the range of one of {', '.join(_SEARCHED)}.")
        finetune_options(self.options, where="[search] options")
        for name, values in self.ranges.items():
            if len(values) != 2 or not 0 < values[0] < values[1]:
                raise ConfigError(
                    f"[search] {name} must be the least and the greatest value, both above 0, not "
                    f"{list(values)}."
                )

    @property
    def ranges(self) -> dict[str, tuple[float, ...]]:
        """The least and the greatest value of every option that is searched."""
        given = {name: getattr(self, name) for name in _SEARCHED}
        return {name: values for name, values in given.items() if values is not None}


_SEARCHED = ("learning_rate", "epochs", "batch_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a sweep.

    Attributes:
        model: The checkpoint, as `read_checkpoint` takes it.
        dev: The labelled examples that every file is scored on.
        train: Those that `finetune` and `compress` train on.
        calibration: Texts for recipes that need them, one per line.
        corpus: Texts that a smaller vocabulary is chosen by, one per line.
        knobs: The values of every knob of `KNOBS`.
        search: The search, if there is one.
        evaluate: How to read and score the dev set.
        benchmark: How to measure the files.
    """

    model: str
    dev: Path
    train: Path | None = None
    calibration: Path | None = None
    corpus: Path | None = None
    knobs: Mapping[str, tuple[Any, ...]]
    search: Search | None = None
    evaluate: EvaluateOptions = field(default_factory=EvaluateOptions)
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)

    def __post_init__(self) -> None:
        trains = any(trial.knobs["seed"] is not None for trial in self.trials()) or self.search
        if trains and self.train is None:
            raise ConfigError("finetune, compress and [search] need a key train, labelled texts.")
        if set(self.knobs["vocabulary"]) != {"all"} and self.corpus is None:
            raise ConfigError("vocabulary needs a key corpus, texts like those to come.")

    def trials(self) -> list[Trial]:
        """Return every combination of the knobs, without those of `search`.

        A seed counts only where something is trained; combinations that are then the same are one.
        """
        combinations = []
        for values in itertools.product(*self.knobs.values()):
            knobs = dict(zip(self.knobs, values, strict=True))
            if knobs["finetune"] is False and knobs["compress"] is False:
                knobs["seed"] = None
            if knobs not in combinations:
                combinations.append(knobs)
        digits = len(str(len(combinations)))
        return [
            Trial(name=f"trial-{number:0{digits}}", knobs=knobs)
            for number, knobs in enumerate(combinations, 1)
        ]

    def searched(self, number: int, options: Mapping[str, Any]) -> Trial:
        """Return a trial of the search: the first value of every knob, and the drawn options."""
        assert self.search is not None  # noqa: S101 (the caller searches)
        base = {name: values[0] for name, values in self.knobs.items()}
        digits = len(str(self.search.trials))
        knobs = {**base, "finetune": {**self.search.options, **options}}
        return Trial(name=f"search-{number:0{digits}}", knobs=knobs)

    def inputs(self) -> dict[str, bytes]:
        """Read every file that a trial reads, by its name there.

        Raises:
            ConfigError: One of them cannot be read.
        """
        paths = {f"{name}/{path.name}": path for name, path in self._paths()}
        model = Path(self.model)
        if model.is_dir():
            inside = (path for path in sorted(model.rglob("*")) if path.is_file())
            paths |= {f"model/{model.name}/{path.relative_to(model)}": path for path in inside}
        elif model.is_file():
            paths[f"model/{model.name}"] = model
        try:
            return {name: read_input(path) for name, path in paths.items()}
        except OSError as error:
            raise ConfigError(f"cannot read {error.filename}: {error.strerror}.") from error

    def _paths(self) -> Iterator[tuple[str, Path]]:
        given = ((name, getattr(self, name)) for name in _FILES)
        return ((name, path) for name, path in given if path is not None)

    def source(self, inputs: Path) -> str:
        """Return the checkpoint where the files of `inputs` lie; an embedded one has a name."""
        copied = inputs / "model" / Path(self.model).name
        return str(copied) if copied.exists() else self.model

    def file(self, inputs: Path, name: str) -> Path:
        """Return the path of a file, such as `dev`, where those of `inputs` lie."""
        path: Path = getattr(self, name)
        return inputs / name / path.name

    def to_dict(self) -> dict[str, Any]:
        """Return the plan, ready for JSON."""
        values = dataclasses.asdict(self)
        values |= {name: str(path) for name, path in self._paths()}
        return {**values, "benchmark": self.benchmark.to_dict()}

    def digests(self, inputs: Mapping[str, bytes]) -> dict[str, str]:
        """Return the digest of every part that the rows depend on, by its name."""
        contents: dict[str, Any] = {name: sha256(blob).hexdigest() for name, blob in inputs.items()}
        by_part: dict[str, Any] = {
            part: {name: one for name, one in contents.items() if name.startswith(f"{part}/")}
            for part in (*_FILES, "model")
        }
        if not by_part["model"]:
            by_part["model"] = self.model, read_checkpoint(self.model).sha256
        values = json.loads(dump_json(self.to_dict()))
        by_part |= {name: values[name] for name in ("knobs", "search", "evaluate")}
        return {
            part: sha256(dump_json(value, sort_keys=True).encode()).hexdigest()
            for part, value in by_part.items()
        }


def read_plan(path: Path) -> Plan:
    """Read a plan; the files that it names are relative to it.

    Raises:
        ConfigError: It cannot be read, or a key or a value is not one of a plan.
        AlbertEdgeError: An option has a value that it cannot have.
    """
    try:
        table = tomllib.loads(read_input(path).decode())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}.") from error
    except ValueError as error:  # also of UTF-8
        raise ConfigError(f"{path} is not TOML: {error}.") from error
    where = str(path)
    sections = ("knobs", "search", "evaluate", "benchmark")
    _check_keys(table, ("model", *_FILES, *sections), where)
    for name in ("model", "dev"):
        if name not in table:
            raise ConfigError(f"{where} lacks the key {name}.")
    texts = {name: table[name] for name in ("model", *_FILES) if name in table}
    for name, text in texts.items():
        _check_type(text, str, f"{where}: {name}")
    files: dict[str, Any] = {
        name: path.parent / text for name, text in texts.items() if name != "model"
    }
    model = path.parent / table["model"]
    parts = {name: table.get(name, {}) for name in sections}
    for name, part in parts.items():
        if not isinstance(part, dict):
            raise ConfigError(f"{where}: {name} must be a table, [{name}].")
    search = "search" in table
    return Plan(
        model=str(model) if model.exists() else table["model"],
        knobs=_read_knobs(parts["knobs"], f"{where} [knobs]"),
        search=_make(Search, parts["search"], f"{where} [search]") if search else None,
        evaluate=_make(EvaluateOptions, parts["evaluate"], f"{where} [evaluate]", only=_EVALUATE),
        benchmark=_make(BenchmarkConfig, parts["benchmark"], f"{where} [benchmark]"),
        **files,
    )


def _check_keys(given: Iterable[str], known: Iterable[str], where: str) -> None:
    known = list(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ConfigError(f"{where} has no key {name!r}{hint}; choose from {', '.join(known)}.")


def _make(
    kind: Callable[..., _Options],
    table: Mapping[str, Any],
    where: str,
    *,
    only: Iterable[str] | None = None,
) -> _Options:
    """Make options of a table, whose keys are their fields."""
    fields: Any = dataclasses.fields(kind)  # type: ignore[arg-type]
    _check_keys(table, only or [one.name for one in fields], where)
    hints = get_type_hints(kind)
    for name, value in table.items():
        _check_type(value, hints[name], f"{where} {name}")
    if lacking := [one.name for one in fields if _is_required(one) and one.name not in table]:
        raise ConfigError(f"{where} lacks the key {lacking[0]}.")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})


def _is_required(one: dataclasses.Field[Any]) -> bool:
    return one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING


def _check_type(value: Any, hint: Any, where: str) -> None:
    if not _fits(value, hint):
        name = getattr(hint, "__name__", str(hint)).replace(" | None", "")
        raise ConfigError(f"{where} must be {name}, not {value!r}.")


def _fits(value: Any, hint: Any) -> bool:
    if NoneType in get_args(hint):
        return any(_fits(value, one) for one in get_args(hint) if one is not NoneType)
    if get_origin(hint) is dict:
        return isinstance(value, dict)
    if get_origin(hint) is tuple:
        return isinstance(value, list) and all(_fits(one, get_args(hint)[0]) for one in value)
    if hint is float:
        return type(value) in (int, float)
    return type(value) is hint


# The knobs: each has the check of a value, and returns it as it is stored in rows.


def _recipe(value: Any, where: str) -> Any:
    if value not in RECIPES:
        _check_keys([str(value)], RECIPES, where)
    return value


def _kept_parts(value: Any, where: str) -> Any:
    if not _fits(value, tuple[str, ...]):
        raise ConfigError(f'{where} must be lists of PART=TYPE, such as ["head=float32"].')
    override_precision(get_recipe("int8-full"), value)  # which has every type
    return list(value)


def _passes(value: Any, where: str) -> Any:
    if value != "all" and (type(value) is not int or value < 1):
        raise ConfigError(f'{where} must be "all" or numbers of passes, not {value!r}.')
    return value


def _vocabulary(value: Any, where: str) -> Any:
    if value not in ("all", "needed") and (type(value) is not int or value < 1):
        raise ConfigError(f'{where} must be "all", "needed" or numbers of pieces, not {value!r}.')
    return value


def _seed(value: Any, where: str) -> Any:
    _check_type(value, int, where)
    return value


def _training(value: Any, where: str) -> Any:
    if value is not False:
        _check_type(value, dict, where)
        finetune_options(value, where=where)
    return value


def _compression(value: Any, where: str) -> Any:
    if value is not False:
        _check_type(value, dict, where)
        compression_options(value, where=where)
    return value


def finetune_options(
    table: Mapping[str, Any], *, seed: int = 0, where: str = "finetune"
) -> FinetuneOptions:
    """Return the training options that a value of the knob `finetune` stands for."""
    return dataclasses.replace(_make(FinetuneOptions, table, where), seed=seed)


def compression_options(
    table: Mapping[str, Any], *, seed: int = 0, where: str = "compress"
) -> tuple[Method, FinetuneOptions]:
    """Return the method and the training options of a value of the knob `compress`.

    Its key `with` names a method of `METHODS`; the others are the method's, or of training.
    """
    rest = dict(table)
    name = rest.pop("with", None)
    if name not in METHODS:
        _check_keys([str(name)], METHODS, f"{where} with")
    kind = METHODS[str(name)]
    own = [one.name for one in dataclasses.fields(kind)]
    trained = [one.name for one in dataclasses.fields(FinetuneOptions)]
    _check_keys(rest, ["with", *own, *trained], where)
    hints = get_type_hints(kind)
    settings = {key: rest[key] for key in rest if key in own}
    for key, value in settings.items():  # a size may be a number, or a text such as "50%"
        if type(value) is int and _fits(str(value), hints[key]):
            settings[key] = str(value)
    method: Any = _make(kind, settings, where)
    options = {key: rest[key] for key in rest if key not in own}
    _make(FinetuneOptions, options, where)  # checks the types
    return method, dataclasses.replace(default_options(method), **options, seed=seed)


# Name → the check of a value, and the only value of a plan that does not name the knob.  The order
# is that of the report: what is done first comes first.
KNOBS: dict[str, tuple[Callable[[Any, str], Any], Any]] = {
    "passes": (_passes, "all"),
    "vocabulary": (_vocabulary, "all"),
    "finetune": (_training, False),
    "compress": (_compression, False),
    "seed": (_seed, 0),
    "quantize": (_recipe, "int8"),
    "keep": (_kept_parts, []),
}


def _read_knobs(table: Mapping[str, Any], where: str) -> dict[str, tuple[Any, ...]]:
    _check_keys(table, KNOBS, where)
    knobs = {}
    for name, (check, default) in KNOBS.items():
        values = table.get(name, [default])
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{where} {name} must be a list of values, not {values!r}.")
        knobs[name] = tuple(check(value, f"{where} {name}") for value in values)
    return knobs

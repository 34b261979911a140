"""Options and inputs that several verbs share.

`options_from` makes click options of the fields of an options dataclass, so that help, defaults and
choices are written once, in the dataclass.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

import click
from click.core import ParameterSource

from albert_edge.config import ACCELERATORS
from albert_edge.errors import InputError
from albert_edge.files import EMBEDDED_MODELS, open_input, read_input

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from click.shell_completion import CompletionItem

    from albert_edge.checkpoints import Checkpoint


_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])
_Options = TypeVar("_Options", bound="DataclassInstance")


class NumberedChoice(click.Choice):  # type: ignore[type-arg]  # generic since click 8.2 only
    """A choice; a name that ends in `:N` stands for that with any number."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name, if it is one."""
        name, _, number = str(value).rpartition(":")
        if number.isdecimal() and f"{name}:N" in self.choices:
            return value
        return super().convert(value, param, ctx)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
force_option = click.option("--force", is_flag=True, help="Replace the output if it exists.")
accelerator_option = click.option(
    "--accelerator",
    type=NumberedChoice(ACCELERATORS),
    default="cpu",
    show_default=True,
    help="What runs the model: a GPU in float32, or in its driver's default precision; or an Edge "
    "TPU, the folder that --target edgetpu wrote.",
)
init_head_option = click.option(
    "--init-head",
    is_flag=True,
    help="Initialise a head that the checkpoint lacks with random weights, to be trained.",
)
keep_option = click.option(
    "--keep",
    multiple=True,
    metavar="PART=TYPE",
    help="Override the precision of a part, such as layer.ffn_output=float32; repeatable.",
)
calibration_option = click.option(
    "--calibration",
    metavar="FILE",
    help="Calibration texts, one per line, typical of those to come; for recipes that need them.",
    show_default="a dozen built-in sentences",
)

# Of the verbs that train:
output_folder_option = click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Directory to write."
)
source_option = click.option(
    "--from", "source", metavar="SOURCE", help="Checkpoint to start from, as for convert."
)
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="config.json of a new model; without it and --from, a small built-in one.",
)


def note_resumable(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    """Note that the command has `--resume`, for the message when it is interrupted."""
    ctx.meta["albert_edge.resumable"] = ctx
    return value


resume_option = click.option(
    "--resume", is_flag=True, callback=note_resumable, help="Continue an interrupted training."
)


def options_from(
    defaults: Any,
    *names: str,
    flags: Mapping[str, str] = MappingProxyType({}),
    unset: str | None = None,
) -> Callable[[_Decorated], _Decorated]:
    """Make a click option of each of the named fields of a dataclass.

    The help is the first sentence about the field under `Attributes:`. The field's metadata may
    hold `choices`, `min` and `below` (limits), `metavar`, and `unset`: what None stands for.

    Args:
        defaults: An instance of the dataclass, whose values are the defaults.
        names: The fields, in the order of the help.
        flags: Flags that are not `--` and the name of the field.
        unset: Default to show instead; the options are then None unless given.
    """
    kind = type(defaults)
    fields = {field.name: field for field in dataclasses.fields(defaults)}
    hints, helps = get_type_hints(kind), _first_sentences(kind)

    def decorate(command: _Decorated) -> _Decorated:
        for name in reversed(names):
            given = fields[name].metadata
            default = None if unset else getattr(defaults, name)
            command = click.option(
                flags.get(name, "--" + name.replace("_", "-")),
                name,
                **_typed(hints[name], given, default),
                help=helps.get(name),
                metavar=given.get("metavar"),
                show_default=unset or given.get("unset", True),
            )(command)
        return command

    return decorate


def complete_files(command: click.Command) -> None:
    """Let a shell complete the texts that a command takes, of which nearly all name files."""
    for parameter in command.params:
        if parameter.type is click.STRING:
            parameter.shell_complete = _complete_file  # type: ignore[method-assign]


def _complete_file(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    names = [name for name in EMBEDDED_MODELS if name.startswith(incomplete)]
    return [CompletionItem(incomplete, type="file"), *map(CompletionItem, names)]


def docstring_of(what: Any) -> str:
    """Return a docstring, from the source where `python -OO` has removed it; empty without one."""
    text = inspect.getdoc(what)
    if sys.flags.optimize > 1:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(what))).body
        assert isinstance(definition, (ast.ClassDef, ast.FunctionDef))  # noqa: S101 (for mypy)
        text = ast.get_docstring(definition)
    return text or ""


def _first_sentences(kind: type) -> dict[str, str]:
    """Return the first sentence about every attribute, by its name."""
    section = docstring_of(kind).partition("Attributes:\n")[2]
    entries = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", section, re.MULTILINE)
    texts = {name: " ".join(text.split()) for name, text in entries}
    return {
        name: re.split(r"(?<=\.) (?=[A-Z`])", text)[0].replace("`", "")
        for name, text in texts.items()
    }


def _typed(hint: Any, limits: Mapping[str, Any], default: Any) -> dict[str, Any]:
    """Return the arguments of `click.option` that follow from a field's type and limits."""
    if NoneType in get_args(hint):  # `X | None`
        hint = get_args(hint)[0]
    if hint is bool:
        return {"is_flag": True, "default": default}
    if get_origin(hint) is tuple:
        text = None if default is None else ",".join(map(str, default))
        return {"callback": _comma_list(get_args(hint)[0]), "default": text}
    if "choices" in limits:
        return {"type": NumberedChoice(limits["choices"]), "default": default}
    if "min" in limits:
        least, below = limits["min"], limits.get("below")
        ranged: Any = click.IntRange if hint is int else click.FloatRange
        bounds = {} if below is None else {"max": below, "max_open": True}
        return {"type": ranged(min=least, **bounds), "default": default}
    return {"type": hint, "default": default}


def _comma_list(kind: type) -> Callable[..., tuple[Any, ...] | None]:
    def split(_: click.Context, __: click.Parameter, value: str | None) -> tuple[Any, ...] | None:
        try:
            return None if value is None else tuple(kind(part.strip()) for part in value.split(","))
        except ValueError as error:
            raise click.BadParameter(
                f"{value!r} is not a comma-separated list of whole numbers, such as 1,2."
            ) from error

    return split


def take_fields(defaults: _Options, settings: dict[str, Any]) -> _Options:
    """Move the values of a dataclass's fields out of `settings`, into a copy of `defaults`.

    A value of None keeps the default.
    """
    names = [one.name for one in dataclasses.fields(defaults) if one.name in settings]
    given = {name: settings.pop(name) for name in names}
    changes = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(defaults, **changes)


def given_parameters(context: click.Context) -> dict[str, str]:
    """Return the parameters given on the command line: how each is written, by its name."""
    given = {}
    for one in context.command.params:
        name, metavar = str(one.name), str(one.metavar).strip("[.]")
        source, value = context.get_parameter_source(name), context.params.get(name)
        if source is ParameterSource.COMMANDLINE and value != ():
            given[name] = one.opts[0] if isinstance(one, click.Option) else metavar
    return given


def read_lines(path: str) -> list[str]:
    """Read the lines of a UTF-8 file that are not blank.

    Raises:
        InputError: The file cannot be read, is not UTF-8, or has only blank lines.
    """
    try:
        lines = read_input(path).decode().splitlines()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {error}.") from error
    if not any(map(str.strip, lines)):
        raise InputError(f"{path} holds no text; give one text per line.")
    return [line for line in lines if line.strip()]


def read_source(
    source: str, *, corpus: str | None = None, pieces: int | None = None, **reading: Any
) -> Checkpoint:
    """Read a checkpoint, and trim its vocabulary if asked.

    Args:
        source: As for `read_checkpoint`.
        corpus: A file of texts, one per line; the vocabulary is trimmed to what they need.
        pieces: Number of pieces to keep instead.
        reading: The options of `read_checkpoint`.
    """
    from albert_edge.cli.console import bars, step

    if pieces is not None and corpus is None:
        raise click.UsageError("--vocabulary-size is for --trim-vocabulary CORPUS.")
    with step("Reading"):
        from albert_edge.checkpoints import read_checkpoint

        checkpoint = read_checkpoint(source, **reading)
    if corpus is None:
        return checkpoint
    from albert_edge.checkpoints.trim_vocab import trim_vocabulary
    from albert_edge.datasets.tables import TextLines

    with bars() as shown:

        @contextmanager
        def opened(path: Path) -> Iterator[Any]:
            with open_input(path) as file:  # which `wrap_file` does not close
                yield shown.wrap_file(file, path.stat().st_size, description="Reading")

        texts = TextLines(Path(corpus), opened)
        return trim_vocabulary(checkpoint, texts, size=pieces)

"""The options of every verb, as a contract; and how they are made of a dataclass's fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from albert_edge import cli
from albert_edge.cli.options import given_parameters, options_from, take_fields

CONTRACT = Path(__file__).with_name("options.txt")


def describe() -> str:
    """Write every parameter on a line: verb, flags, type, default, and what it takes."""
    lines = []
    for verb in cli._VERBS:
        command = cli._group.get_command(click.Context(cli._group), verb)
        assert command is not None
        lines += [f"{verb} {_describe(parameter)}" for parameter in command.params]
    return "\n".join(sorted(lines)) + "\n"


def _describe(parameter: click.Parameter) -> str:
    info = parameter.to_info_dict()
    flags = "/".join([*parameter.opts, *parameter.secondary_opts])
    kind = info["type"]["param_type"].lower()
    if "choices" in info["type"]:
        kind = "|".join(info["type"]["choices"])
    if "min" in info["type"]:
        kind += " {min}..{max}".format(**info["type"])
    words = [flags, "flag" if info.get("is_flag") else kind]
    if isinstance(parameter.default, (str, int, float)) and not info.get("is_flag"):
        words.append(f"={parameter.default}")
    words += [name for name in ("required", "multiple") if info[name]]
    words += [f"nargs={info['nargs']}"] if info["nargs"] != 1 else []
    return " ".join(words)


def test_the_command_line_is_as_it_was() -> None:
    assert describe() == CONTRACT.read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", cli._VERBS)
def test_every_option_has_a_help_of_whole_sentences(verb: str) -> None:
    command: Any = cli._group.get_command(click.Context(cli._group), verb)
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.opts
            assert option.help[0].isupper() or option.help[0].isdigit() or "." in option.help
            assert option.help.endswith((".", "...")), option.help
            assert "`" not in option.help


@dataclass(frozen=True, slots=True, kw_only=True)
class Toy:
    """Options of a test.

    Attributes:
        rate: Peak `rate` of
            everything.  Second sentence.
        sizes: Sizes, e.g. of boxes.
        steps: Number of steps.
        shape: Shape.
        limit: Limit.
        quick: Whether to hurry.
    """

    rate: float = 0.5
    sizes: tuple[int, ...] = (1, 2)
    steps: int = field(default=3, metadata={"min": 1})
    shape: str = field(default="round", metadata={"choices": ("round", "flat")})
    limit: int | None = field(default=None, metadata={"unset": "none", "metavar": "N"})
    quick: bool = False


@click.command(context_settings={"show_default": True})
@options_from(Toy(), "rate", "sizes", "steps", flags={"sizes": "--size"})
@options_from(Toy(), "shape", "limit", "quick")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.pass_context
def toy(context: click.Context, /, names: tuple[str, ...], **settings: Any) -> None:
    given = given_parameters(context)
    click.echo(f"{take_fields(Toy(), settings)} {given} {settings}")


def test_options_come_from_a_dataclass() -> None:
    done = CliRunner().invoke(toy, [])
    assert done.output == f"{Toy()} {{}} {{}}\n"
    done = CliRunner().invoke(toy, ["--size", "3, 4", "--limit", "5", "--quick", "a"])
    expected = Toy(sizes=(3, 4), limit=5, quick=True)
    given = {"sizes": "--size", "limit": "--limit", "quick": "--quick", "names": "NAME"}
    assert done.output.startswith(str(expected))
    assert all(f"{name!r}: {flag!r}" in done.output for name, flag in given.items())


def test_help_is_the_first_sentence_and_shows_defaults() -> None:
    shown = " ".join(CliRunner().invoke(toy, ["--help"]).output.split())
    for part in (
        "--rate FLOAT Peak rate of everything. [default: 0.5]",
        "--size TEXT Sizes, e.g. of boxes. [default: 1,2]",
        "--steps INTEGER RANGE Number of steps. [default: 3; x>=1]",
        "--shape [round|flat] Shape. [default: round]",
        "--limit N Limit. [default: (none)]",
        "--quick Whether to hurry.",
    ):
        assert part in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "a"], "'a' is not a comma-separated list of whole numbers"),
        (["--steps", "0"], "0 is not in the range x>=1"),
        (["--shape", "square"], "'square' is not one of 'round', 'flat'"),
        (["--rate", "fast"], "'fast' is not a valid float"),
    ],
)
def test_wrong_values_are_wrong_usage(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(toy, arguments)
    assert done.exit_code == 2
    assert message in done.output

"""The command line: `albert-edge VERB`, each verb in the module of its name."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from albert_edge import __version__
from albert_edge.errors import AlbertEdgeError

__all__ = ["main"]

# Verb → the one line that `albert-edge --help` shows.  A verb's module is imported when it is used,
# so that help answers at once and a Raspberry Pi never looks for TensorFlow.
_VERBS = {
    "demo": "Convert, verify and measure the embedded model, and answer with it.",
    "convert": "Turn a checkpoint into one .tflite file.",
    "run": "Answer text with a .tflite file.",
    "inspect": "Show what is in a .tflite file.",
    "verify": "Compare a .tflite file with its checkpoint.",
    "evaluate": "Score a .tflite file on data, or compare two.",
    "benchmark": "Measure .tflite files: time, memory, energy, and whether they are right.",
    "pretrain": "Train an ALBERT on plain text.",
    "finetune": "Train an ALBERT on labelled text.",
    "compress": "Make an ALBERT smaller while it trains.",
    "presets": "List the published shapes and their parameters.",
    "recipes": "List the quantization recipes and the layouts.",
}


class _Verbs(click.Group):
    """A group that imports a verb's module only when the verb is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module = "catalog" if cmd_name in ("presets", "recipes") else cmd_name
        verbs = import_module(f"albert_edge.cli.{module}")
        command: click.Command = getattr(verbs, cmd_name if module == "catalog" else "command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except AlbertEdgeError as error:
            if ctx.params["debug"]:
                raise
            click.echo(f"albert-edge: {error}", err=True)
            ctx.exit(1)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="albert-edge")
@click.option("--debug", is_flag=True, help="Show a traceback when something goes wrong.")
def _group(debug: bool) -> None:
    """Compress ALBERT, convert it to one self-contained .tflite file, and run it.

    \b
    albert-edge demo
    albert-edge convert CHECKPOINT -o model.tflite
    albert-edge run model.tflite "a quiet, moving film"
    """


def main() -> None:
    """Run the command line; exit with 0 when done, 1 on a clear error, 2 on wrong usage."""
    if hasattr(sys.stdout, "reconfigure"):
        # A device's locale may be C; what we print is UTF-8 all the same, also the name of a file
        # that is none.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    _group(prog_name="albert-edge")

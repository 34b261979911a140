"""The command line: `albert-edge VERB`, each verb in its own module."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from albert_edge import __version__
from albert_edge.errors import AlbertEdgeError, requires_extra

__all__ = ["main"]

# Verb → its line in `albert-edge --help`.  A verb's module is imported only when the verb is used,
# so that --help is fast and needs no TensorFlow.
_VERBS = {
    "demo": "Convert, verify and benchmark the embedded model, and run it.",
    "convert": "Convert a checkpoint into one .tflite file.",
    "run": "Run a .tflite file on text.",
    "inspect": "Show the signatures, operators and weights of a .tflite file.",
    "verify": "Compare the outputs of a .tflite file with its checkpoint.",
    "evaluate": "Score a .tflite file on labelled data, or compare two.",
    "benchmark": "Measure latency, memory and energy of .tflite files.",
    "pretrain": "Pre-train an ALBERT on plain text.",
    "finetune": "Fine-tune an ALBERT on labelled data.",
    "compress": "Prune, cluster or quantization-aware train a text classifier.",
    "presets": "List the published ALBERT configurations.",
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
            with requires_extra():
                return super().invoke(ctx)
        except AlbertEdgeError as error:
            if ctx.params["debug"]:
                raise
            click.echo(f"albert-edge: {error}", err=True)
            ctx.exit(1)


@click.group(
    cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
)
@click.version_option(__version__, prog_name="albert-edge")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
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
        # The locale of a device may be C; output is UTF-8 all the same, even a file name that is
        # not valid UTF-8.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    _group(prog_name="albert-edge")

"""The command line: `albert-edge VERB`, each verb in its own module.

Whatever the shell, the disk or the user does to the process, it ends with one line on standard
error and an exit code: 0 done, 1 a clear error, 2 wrong usage; 130 interrupted with Control-C and
143 terminated, as the shell counts a process that a signal ends; 141, without a line, if the reader
of standard output went away, as in `albert-edge recipes | head -1`.
"""

from __future__ import annotations

import io
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from types import FrameType
from typing import Any, TextIO

import click

from albert_edge import __version__
from albert_edge.errors import AlbertEdgeError, OutputError, printable, requires_extra

# Verb → its line in `albert-edge --help`.  A verb's module is imported only when the verb is used,
# so that --help is fast and needs no TensorFlow.
_VERBS = {
    "demo": "Convert, verify and benchmark an embedded model, and run all three.",
    "convert": "Convert a checkpoint into one .tflite file.",
    "run": "Run a .tflite file on text.",
    "inspect": "Show the signatures, operators and weights of a .tflite file.",
    "verify": "Compare the outputs of a .tflite file with its checkpoint.",
    "evaluate": "Score a .tflite file on labelled data, or compare two.",
    "benchmark": "Measure latency, memory and energy of .tflite files.",
    "pretrain": "Pre-train an ALBERT on plain text.",
    "finetune": "Fine-tune an ALBERT on labelled data.",
    "distill": "Distill a BERT or an ALBERT into a narrow ALBERT.",
    "compress": "Prune, cluster, narrow or quantization-aware train a model.",
    "sweep": "Try combinations of recipes, sizes and training, and show the best.",
    "doctor": "Say what works on this machine, and what installs the rest.",
    "completion": "Print the script that completes albert-edge in a shell.",
    "presets": "List the published ALBERT configurations.",
    "recipes": "List the quantization recipes and the layouts.",
    "serve-demo": "Run models in a page of the browser.",
    "targets": "List the targets: where a file can run, and what each of them chooses.",
}


class _Verbs(click.Group):
    """A group that imports a verb's module only when the verb is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        from albert_edge.cli.options import complete_files

        is_listing = cmd_name in ("presets", "recipes", "targets")
        module = "catalog" if is_listing else cmd_name.replace("-", "_")
        verbs = import_module(f"albert_edge.cli.{module}")
        command: click.Command = getattr(verbs, cmd_name if module == "catalog" else "command")
        _restore_help(command)
        complete_files(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))

    def invoke(self, ctx: click.Context) -> object:
        try:
            with requires_extra():
                return super().invoke(ctx)
        except _Stopped as stopped:
            stopped.advice = _advise_resuming(ctx)
            raise
        except (AlbertEdgeError, OSError, MemoryError) as error:
            if ctx.params["debug"]:
                raise
            _print_error(_describe(error))
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
    """Run the command line, and exit with one of the codes of this module."""
    _check_streams()
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in [number for number in handlers if handlers[number] is not signal.SIG_IGN]:
        signal.signal(number, _stop)
    try:
        _restore_help(_group)
        code = _group.main(prog_name="albert-edge", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.message = printable(error.message)  # type: ignore[misc]  # no other way in
        error.show()
        code = error.exit_code
    except OutputError as error:  # the help cannot be printed
        _print_error(str(error))
        code = 1
    except _Stopped as stopped:
        _drop_output()
        _print_error(f"{_SIGNALS[stopped.number]}{stopped.advice}.")
        code = stopped.code
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    sys.exit(code or 0)


def _print_error(message: str) -> None:
    # What is quoted, such as a file name, may contain the end of a line: what comes after it must
    # not look like another message.
    first, *more = message.rstrip("\n").split("\n")
    lines = [first, *(line if line.startswith("  ") else f"  {line}" for line in more)]
    click.echo("albert-edge: " + "\n".join(map(printable, lines)), err=True)


def _describe(error: Exception) -> str:
    if isinstance(error, AlbertEdgeError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"there is not enough memory{f': {error}' if str(error) else ''}."
    if not isinstance(error, OSError) or error.strerror is None:
        return f"{error}."
    return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."


# Signals.

_SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_SHELL_BASE = 128  # a shell adds it to a signal's number


class _Stopped(SystemExit):
    """The user or the system stops the command; it ends, and cleans up, like any other exit."""

    def __init__(self, number: int) -> None:
        super().__init__(_SHELL_BASE + number)
        self.number, self.advice = signal.Signals(number), ""


def _stop(number: int, _: FrameType | None, *, process: int = os.getpid()) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    if os.getpid() != process:  # a worker that inherited the handler
        signal.raise_signal(number)
    raise _Stopped(number)


def _advise_resuming(ctx: click.Context) -> str:
    """Say what `--resume` would do, if the verb has it."""
    if (verb := ctx.meta.get("albert_edge.resumable")) is None:
        return ""
    output = verb.params.get("output") or verb.params.get("json_path")
    if output in (None, "-"):
        return "; nothing was saved"
    inside = (os.path.join(output, name) for name in ("training.npz", "plan.json"))  # noqa: PTH118
    states = (f"{output}.training", *inside, output)
    state = next((state for state in states if os.path.isfile(state)), None)  # noqa: PTH113
    if state is None:
        return "; nothing was saved to resume from"
    how = "--resume instead of --force" if verb.params["force"] else "--resume"
    return f"; {how} continues from {state}"


# Standard streams.

_MODES = (os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)  # of standard input, output and error


def _check_streams() -> None:
    """Make standard input, output and error safe to use.

    A descriptor that is closed is taken, so that no file gets its number: the first two by one on
    which reading and writing fail.  The locale may be C; what is printed is UTF-8 all the same,
    even a file name that is not.
    """
    for descriptor, mode in enumerate(_MODES):
        try:
            os.fstat(descriptor)
        except OSError:
            os.dup2(null := os.open(os.devnull, mode), descriptor)
            if null != descriptor:
                os.close(null)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 (a descriptor)
    sys.stdout = _text_stream(sys.stdout, 1)
    sys.stderr = _text_stream(sys.stderr, 2)


@contextmanager
def quiet_stderr() -> Iterator[TextIO]:
    """Keep the messages of TensorFlow and LiteRT off standard error.

    Both write to file descriptor 2 from C++, at every log level.  Here that goes to a file, which
    is shown if the work ends in an error that is not an `AlbertEdgeError`.

    Yields:
        The real standard error.
    """
    real = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace")
    with real as terminal, _scratch_file() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield terminal
        except AlbertEdgeError:
            raise
        except Exception:
            chatter.seek(0)
            terminal.writelines(chatter)
            raise
        finally:
            os.dup2(terminal.fileno(), 2)


def _scratch_file() -> Any:
    """Open a temporary file, in memory where that is possible: the disk may be read-only."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("albert-edge")
        return os.fdopen(handle, "w+", encoding="utf-8", errors="replace")
    import tempfile

    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")


def _drop_output() -> None:
    """Drop what was being written when a signal came: a part of it, or all, is written already."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _OutputStream):
        raw.drop()


def _text_stream(stream: Any, descriptor: int) -> Any:
    with suppress(io.UnsupportedOperation):  # a caller's own stream stays
        if stream is None or stream.fileno() == descriptor:
            raw = _OutputStream(descriptor)
            return io.TextIOWrapper(
                io.BufferedWriter(raw), "utf-8", "backslashreplace", line_buffering=True
            )
    return stream


class _OutputStream(io.RawIOBase):
    """Standard output or standard error, on which a failed write is an error of the command.

    After it the descriptor is the null device, so that nothing fails once more at the exit.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def drop(self) -> None:
        """Send what is written from now on to the null device."""
        os.dup2(null := os.open(os.devnull, os.O_WRONLY), self._descriptor)
        os.close(null)

    def write(self, data: Any) -> int:
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # another program made the terminal or pipe non-blocking
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.drop()
                if self._descriptor == 2:  # there is nowhere to report it
                    return len(data)
                if isinstance(error, BrokenPipeError):
                    raise SystemExit(_SHELL_BASE + signal.SIGPIPE) from error
                raise OutputError(f"cannot write to standard output: {error.strerror}.") from error


# Help.


def _restore_help(command: click.Command) -> None:
    """Read the help of a command from its source where `python -OO` has removed it."""
    if command.help is None and command.callback is not None:
        from albert_edge.cli.options import docstring_of

        command.help = docstring_of(command.callback)

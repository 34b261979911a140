"""Progress on the terminal, and nothing else on it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

from albert_edge.errors import AlbertEdgeError

__all__ = ["bars", "quiet", "step"]


@contextmanager
def quiet() -> Iterator[Console]:
    """Keep standard error for ourselves.

    TensorFlow and LiteRT write to file descriptor 2 from C++, whatever they are told.  Meanwhile it
    goes to a file, which is shown if the work ends in an error that is not ours.

    Yields:
        A console on the real standard error, for progress.
    """
    with os.fdopen(os.dup(2), "w") as terminal, tempfile.TemporaryFile("w+") as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield Console(file=terminal)
        except AlbertEdgeError:
            raise
        except Exception:
            chatter.seek(0)
            shutil.copyfileobj(chatter, terminal)
            raise
        finally:
            os.dup2(terminal.fileno(), 2)


@contextmanager
def step(what: str) -> Iterator[Console]:
    """Show on standard error that work is going on; silent when that is no terminal."""
    with quiet() as console, console.status(f"{what} ..."):
        yield console


@contextmanager
def bars() -> Iterator[Progress]:
    """Show on standard error how far work has come; silent when that is no terminal."""
    with quiet() as console:
        disable = not console.is_terminal
        with Progress(console=console, transient=True, disable=disable) as shown:
            yield shown

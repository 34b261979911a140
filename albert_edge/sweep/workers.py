"""What runs the trials: this process, or the nodes of a Ray cluster."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, Protocol

from albert_edge import __version__
from albert_edge.errors import ConfigError, requires_extra
from albert_edge.sweep.plan import Plan, Trial
from albert_edge.sweep.trial import Outcome, describe_error, run_trial

_CONNECT_S = 10.0
_STORE_BYTES = 100_000_000  # of Ray's shared memory, for the files of the trials that run
# Ray's own limit of repetitions for a lost node, and ours for what it then gives up.
_RAY_RETRIES, _RETRIES = 3, 2


class Workers(Protocol):
    """What runs trials."""

    def run(
        self, plan: Plan, inputs: Mapping[str, bytes], trials: Sequence[Trial]
    ) -> Iterator[tuple[Trial, Outcome]]:
        """Run trials, and yield each with its outcome when it is done, in any order."""


class OneProcess:
    """This process, which runs one trial after another."""

    def run(
        self, plan: Plan, inputs: Mapping[str, bytes], trials: Sequence[Trial]
    ) -> Iterator[tuple[Trial, Outcome]]:
        """Run trials in order."""
        for trial in trials:
            yield trial, run_trial(plan, inputs, trial)


class RayCluster:
    """The nodes of a Ray cluster, each of which runs as many trials as it has CPUs."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._task = ray.remote(num_cpus=1, max_retries=_RAY_RETRIES)(_run_on_node)

    def run(
        self, plan: Plan, inputs: Mapping[str, bytes], trials: Sequence[Trial]
    ) -> Iterator[tuple[Trial, Outcome]]:
        """Run trials side by side; one whose node is lost runs again on another.

        Raises:
            ConfigError: A node has another version of this package.
        """
        shared, tries = self._ray.put(dict(inputs)), dict.fromkeys((one.name for one in trials), 0)

        def start(trial: Trial) -> Any:
            return self._task.remote(__version__, plan, shared, trial)

        running = {start(trial): trial for trial in trials}
        while running:
            (done, *_), _ = self._ray.wait(list(running))
            trial = running.pop(done)
            try:
                yield trial, self._ray.get(done)
            except ConfigError:
                raise
            except self._ray.exceptions.RayError as error:
                tries[trial.name] += 1
                if tries[trial.name] <= _RETRIES:
                    running[start(trial)] = trial
                else:
                    yield trial, _lost(trial, error)


def _run_on_node(version: str, plan: Plan, inputs: Mapping[str, bytes], trial: Trial) -> Outcome:
    if version != __version__:
        raise ConfigError(
            f"a node of the cluster has albert_edge {__version__}, and this machine {version}; "
            "install the same version on every node."
        )
    return run_trial(plan, inputs, trial)


def _lost(trial: Trial, error: Exception) -> Outcome:
    row = {"trial": trial.name, "knobs": dict(trial.knobs), "status": "error"}
    return Outcome({**row, "error": describe_error(error), "duration_s": None}, {})


@contextmanager
def open_workers(address: str) -> Iterator[Workers]:
    """Open what runs the trials.

    Args:
        address: `off` for this process; `local` for a Ray cluster of this machine alone, `auto` for
            the one that runs here or that RAY_ADDRESS names, or the address of one.

    Raises:
        ConfigError: There is no cluster at the address.
        MissingExtraError: Ray is not installed.
    """
    if address == "off":
        yield OneProcess()
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    with requires_extra("ray"):
        import ray
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        options |= {"object_store_memory": _STORE_BYTES, "include_dashboard": False}
    try:
        _check_reachable(address)
        ray.init(address=address, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"there is no Ray cluster at {address!r} ({error}). Start one with: ray start --head; "
            "or give --ray local, or --ray off."
        ) from error
    try:
        with redirect_stdout(sys.stderr):  # where Ray says that a node is lost
            yield RayCluster(ray)
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Connect to HOST:PORT, which Ray would try for a minute before it ends this process.

    Raises:
        OSError: Nothing listens there.
    """
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()

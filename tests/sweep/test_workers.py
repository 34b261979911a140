"""`albert_edge.sweep.workers`: a Ray cluster of two nodes, one of which is lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from albert_edge.errors import ConfigError
from albert_edge.sweep import workers
from albert_edge.sweep.plan import Trial
from sweep.samples import comparable, run

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes of one CPU each, on this machine, that notice soon when one is lost."""
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    health = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000}
    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100_000_000}
    head = {**node, "include_dashboard": False, "_system_config": health}
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made, made.add_node(**node)
    ray.shutdown()
    made.shutdown()


def test_trials_of_a_lost_node_run_again_and_all_rows_are_those_of_one_process(
    cluster: Any, swept: Path, report: dict[str, Any], tmp_path: Path
) -> None:
    nodes, lost = cluster
    output, finished = tmp_path / "out", threading.Event()

    def kill() -> None:
        while not finished.wait(0.05):
            if (output / "rows" / "trial-1.json").exists():
                nodes.remove_node(lost, allow_graceful=False)
                return

    killer = threading.Thread(target=kill)
    killer.start()
    again = run(swept / "plan.toml", output, ray=nodes.address)
    finished.set()
    killer.join()
    assert not nodes.worker_nodes
    assert comparable(again) == comparable(report)


def test_a_task_that_dies_each_time_is_a_row(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    nodes, _ = cluster
    monkeypatch.setattr(workers, "_RETRIES", 1)
    ray.init(nodes.address, log_to_driver=False)

    def die(*_: Any) -> None:
        os._exit(1)

    made = workers.RayCluster(ray)
    made._task = ray.remote(num_cpus=1, max_retries=0)(die)
    trial = Trial(name="trial-1", knobs={"quantize": "int8"})
    ((same, outcome),) = made.run(None, {}, [trial])  # type: ignore[arg-type]
    assert same == trial
    assert outcome.row["status"] == "error"
    assert outcome.row["error"]["type"] == "WorkerCrashedError"


def test_a_cluster_that_is_not_there_and_nodes_of_another_version() -> None:
    with (
        pytest.raises(ConfigError, match=r"there is no Ray cluster at '127\.0\.0\.1:1'"),
        workers.open_workers("127.0.0.1:1"),
    ):
        pass
    with pytest.raises(ConfigError, match=r"a node of the cluster has albert_edge .*, and this"):
        workers._run_on_node("0.0.0", None, {}, None)  # type: ignore[arg-type]

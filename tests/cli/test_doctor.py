"""`albert-edge doctor`: a table, and JSON."""

from __future__ import annotations

import json

from cli.commands import albert_edge


def test_the_report():
    done = albert_edge("doctor", "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["ready"]
    names = [one["name"] for one in found["checks"]]
    assert {"convert", "embedded model", "gpu", "edgetpu", "ssh://", "adb://"} <= {*names}


def test_the_table(monkeypatch):
    checks = [
        {
            "area": "runtime",
            "name": "embedded model",
            "works": False,
            "detail": "no\x1b[2J runtime",
        },
        {"area": "devices", "name": "ssh://", "works": True, "detail": "can be measured"},
    ]
    machine = {"model": "Pi", "cores": 4, "instructions": ["asimddp"], "python": "3.11"}
    found = {"albert_edge": "1", "machine": machine, "ready": False, "checks": checks}
    monkeypatch.setattr("albert_edge.doctor.diagnose", lambda: found)
    done = albert_edge("doctor")
    assert done.exit_code == 1
    assert "Pi, 4 cores; instructions: asimddp" in done.stdout
    assert "runtime: embedded model no    no\\x1b[2J" in done.stdout
    assert "devices: ssh://         works can be measured" in done.stdout

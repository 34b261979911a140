"""What GPU runtimes compute wrong or refuse is found, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge.errors import UnsupportedOpError
from albert_edge.runtime.interpreter import open_interpreter
from albert_edge.tflite.gpu_rules import (
    CPU,
    Rule,
    check_gpu,
    describe_findings,
    require_gpu,
    rules,
)
from albert_edge.tflite.graph import pack, parse
from gpu_graphs import GRAPHS, RIGHT, E, N, Sketch, T, make_inputs
from rigs import gpu_delegate, swiftshader
from rigs.install import RigError

# In float32 arithmetic, of the largest output: rounding is below 1e-6, and the smallest error that
# a rule is about, GELU's other form, 5e-5.
CLOSE = 1e-5


def found(model: Any) -> list[str]:
    return [one.rule.name for one in check_gpu(model)]


def test_every_rule_has_a_graph() -> None:
    assert [rule.name for rule in rules()] == list(dict.fromkeys(rule.name for rule in rules()))
    assert {rule.name for rule in rules()} == set(GRAPHS)
    for rule in rules():
        assert rule.measured or rule.reports or rule.source, rule.name
        assert set(rule.measured) <= set(rule.runtimes), rule.name


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_is_found_by_its_rule(name: str) -> None:
    model = parse(pack(GRAPHS[name]()))
    assert name in found(model)
    if next(rule for rule in rules() if rule.name == name).effect != CPU:
        with pytest.raises(UnsupportedOpError, match=r"m\.tflite does not belong on a GPU"):
            require_gpu(describe_findings(check_gpu(model)), where="m.tflite")


def test_nothing_is_found_in_a_right_graph() -> None:
    assert found(RIGHT()) == ["lookup"]
    require_gpu(describe_findings(check_gpu(RIGHT())), where="m.tflite")


def test_a_finding_says_where() -> None:
    (one,) = check_gpu(GRAPHS["transposed-product"]())
    assert one.to_dict() == {
        "rule": "transposed-product",
        "effect": "computed wrong",
        "subgraph": 0,
        "operator": 0,
        "name": "BATCH_MATMUL",
        "tensor": "batch_matmul1",
        "inputs": [[1, N, T, E], [1, N, T, E]],
        "outputs": [[1, N, T, T]],
    }


def test_kinds_are_counted_and_the_worst_come_first() -> None:
    kinds = describe_findings(check_gpu(GRAPHS["cast"]()) + check_gpu(GRAPHS["tanh-gelu"]()))
    assert [(kind["rule"], kind["count"]) for kind in kinds] == [("tanh-gelu", 1), ("cast", 2)]
    assert kinds[1]["first"]["operator"] == 1


def test_squares_of_bounded_tables_fit() -> None:
    def norm(largest: float) -> Any:
        s = Sketch()
        table = s.constant(np.full((T, E), largest, np.float32))
        rows = s.gather(table, s.input(1, T, kind="int32"), [1, T, E])
        total = s.add(rows, rows, [1, T, E])
        squares = s.op("SQUARED_DIFFERENCE", [total, s.mean(total, [1, T, 1])], [1, T, E])
        return s.model(s.mean(squares, [1, T, 1]))

    # |x| <= 2a and |mean| <= 2a: 16 squares of 4a reach 65504 at a = 16.
    assert found(norm(15.9)) == ["lookup"]
    assert found(norm(16.1)) == ["lookup", "unscaled-squares"]


@pytest.mark.parametrize(
    ("rank", "constant", "wrong"),
    [
        (1, [E], True),
        (2, [E], False),
        (2, [1, E], False),
        (2, [T, 1], True),
        (3, [T, E], False),
        (3, [1, T, E], False),
        (3, [N, 1, E], True),
        (4, [N, T, E], False),
    ],
)
def test_rows_of_a_constant_meet_rows_in_some_ranks(
    rank: int, constant: list[int], wrong: bool
) -> None:
    s, shape = Sketch(), [1, N, T, E][4 - rank :]
    model = s.model(s.add(s.input(*shape), s.weights(*constant), shape))
    assert found(model) == ["rows-of-constant"] * wrong


PAGE = Path(__file__).parents[2] / "docs" / "gpu_checks.md"


def rows() -> list[str]:
    """Return the table of the rules as the documentation shows it."""
    lines = ["| rule | what is found | effect | in | why, and what to do | evidence |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    return lines + [
        f"| `{rule.name}` | {rule.what} | {rule.effect} | {', '.join(rule.runtimes)} | "
        f"{rule.reason} What to do: {rule.remedy}. | {rule.evidence} |"
        for rule in rules()
    ]


def test_the_documentation_lists_the_rules() -> None:
    shown = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    assert shown == rows()


# On the runtimes themselves.


def measured() -> Iterator[Any]:
    """Yield every rule with each runtime in which its graph shows the effect."""
    for rule in rules():
        for runtime in rule.measured:
            marks = [pytest.mark.slow] if rule.effect.startswith(CPU) else []
            yield pytest.param(rule, runtime, id=f"{rule.name}-{runtime}", marks=marks)


@pytest.mark.parametrize(("rule", "runtime"), list(measured()))
def test_a_runtime_does_what_a_rule_says(rule: Rule, runtime: str, tmp_path: Path) -> None:
    run = {"GpuDelegate": on_delegate, "CompiledModel": on_compiled_model}[runtime]
    outcome = run(GRAPHS[rule.name](), tmp_path / "m.tflite")
    expected = {"computed": "wrong", "refused:": "refused", "left": "split"}
    assert outcome == expected[rule.effect.split()[0]]


@pytest.mark.parametrize("runtime", ["GpuDelegate", "CompiledModel"])
def test_the_right_graph_is_right(runtime: str, tmp_path: Path) -> None:
    run = {"GpuDelegate": on_delegate, "CompiledModel": on_compiled_model}[runtime]
    assert run(RIGHT(), tmp_path / "m.tflite") == "split"  # the lookup, and nothing wrong


def on_delegate(model: Any, path: Path) -> str:
    gpu_delegate.ANDROID.require()
    gpu_delegate.OPENCL.require()
    path.write_bytes(pack(model))
    inputs = make_inputs(model)
    try:
        result = gpu_delegate.run(path, inputs, maker="mali")
    except RigError:
        return "refused"
    return verdict(path, inputs, result.outputs, bool(result.left))


def on_compiled_model(model: Any, path: Path) -> str:
    swiftshader.RIG.require()
    path.write_bytes(pack(model))
    inputs = make_inputs(model)
    try:
        result = swiftshader.run_compiled(path, inputs)
    except RigError:
        return "refused"
    return verdict(path, inputs, result.outputs, not result.fully_accelerated)


def verdict(path: Path, inputs: Any, outputs: list[dict[str, np.ndarray]], left: bool) -> str:
    """Return "right", "wrong", "refused", or "split" for right with operators on the CPU."""
    if not outputs:
        return "refused"
    expected = open_interpreter(path, threads=1, delegated=False).get_signature_runner()(**inputs)
    for name, values in expected.items():
        error = np.abs(outputs[0][name].astype(np.float64) - values).max()
        if not error <= CLOSE * np.abs(values).max():
            return "wrong"
    return "split" if left else "right"

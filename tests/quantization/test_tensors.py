"""Tensors while a stage is quantized: their parts, types, scales and zero points."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.quantization.calibration import TensorStats
from albert_edge.quantization.recipes import PARTS
from albert_edge.quantization.tensors import (
    QMAX,
    CalibrationRanges,
    QuantParams,
    StageTensors,
    _pack_int4,
    choose_qparams,
)
from albert_edge.tasks import TASKS
from albert_edge.tflite.export import export_stages
from albert_edge.tflite.graph import schema


@pytest.mark.parametrize("task", TASKS)
def test_every_weight_belongs_to_a_part(tiny_albert, task):
    stages = export_stages(tiny_albert(task, inner_group_num=2))
    with_weights = (schema.BuiltinOperator.FULLY_CONNECTED, schema.BuiltinOperator.GATHER)
    for stage in (stages.embed, stages.layers[0], stages.head):
        tensors = StageTensors(stage, CalibrationRanges(stats={}))
        for operator in stage.graph.operators:
            if tensors.code(operator) in with_weights:
                assert tensors.part(operator) in PARTS


@given(st.floats(-100, 100, width=32), st.floats(-100, 100, width=32))
def test_codes_cover_a_range_and_zero_exactly(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    chosen = choose_qparams(low, high, "int8")
    ends = [(code - chosen.zero_point) * chosen.scale for code in (-128, 127)]
    # The zero point is rounded: the ends are within half a step.
    assert ends[0] - chosen.scale / 2 <= min(low, 0) + 1e-6
    assert ends[1] + chosen.scale / 2 >= max(high, 0) - 1e-6
    assert -128 <= chosen.zero_point <= 127
    symmetric = choose_qparams(low, high, "int16")
    assert symmetric.zero_point == 0
    assert symmetric.scale * QMAX["int16"] == pytest.approx(max(abs(low), abs(high)) or 1.0)


def test_quantization_parameters_by_hand() -> None:
    assert choose_qparams(np.float32([-1, 0]), np.float32([2, 1.5]), "int8") == QuantParams(
        3 / 255,
        -43,  # -128 + 255 / 3
    )
    assert choose_qparams(1.0, 2.0, "int8") == QuantParams(2 / 255, -128)
    assert choose_qparams(0.0, 0.0, "int8") == QuantParams(1 / 255, -128)
    stored = QuantParams(np.float32([0.5, 0.25])).quantization()
    assert (stored.scale.tolist(), stored.zeroPoint.tolist()) == ([0.5, 0.25], [0, 0])


@given(st.lists(st.integers(-8, 7), max_size=9))
def test_four_bit_codes_come_back(codes: list[int]) -> None:
    packed = np.frombuffer(_pack_int4(np.array(codes, np.int64)), np.int8)
    assert len(packed) == (len(codes) + 1) // 2
    halves = np.stack([packed << 4 >> 4, packed >> 4], axis=1).ravel()
    assert halves[: len(codes)].tolist() == codes


def test_ranges_are_of_all_passes_or_of_one_or_trained() -> None:
    stats = TensorStats(np.float32([[-1, -2], [-3, 0]]), np.float32([[1, 2], [0, 4]]), hessian=None)
    ranges = CalibrationRanges(stats={7: stats})
    both = [bound.tolist() for bound in ranges.min_max(7)]
    assert both == [[-3, -2], [1, 4]]
    second = dataclasses.replace(ranges, index=1)
    assert [bound.tolist() for bound in second.min_max(7)] == [[-3, 0], [0, 4]]
    assert [bound.tolist() for bound in second.min_max(7, all_layers=True)] == both
    trained = dataclasses.replace(ranges, trained={7: np.float32([[-9, -9], [9, 9]])})
    assert [bound.tolist() for bound in trained.min_max(7, "int8")] == [[-9, -9], [9, 9]]
    assert [bound.tolist() for bound in trained.min_max(7, "int16")] == both

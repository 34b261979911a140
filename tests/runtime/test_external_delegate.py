"""A product on the CPU, and on the Edge TPU of the rig: as its weights say, with clear errors."""

from __future__ import annotations

import numpy as np
import pytest

from albert_edge.errors import BundleError, DeviceError, InputError
from albert_edge.runtime import external_delegate
from albert_edge.runtime.external_delegate import open_product
from albert_edge.runtime.interpreter import runtime_name
from albert_edge.tflite.graph import ModelBuilder, pack, parse, schema
from rigs.edgetpu_delegate import NAME, OLD, RIG, forge_file

TOKENS, INPUTS, OUTPUTS = 6, 8, 5


def quantization(scales, zero_point):
    scales = np.float32(scales)
    return schema.QuantizationParametersT(
        scale=list(scales), zeroPoint=[zero_point] * len(scales), quantizedDimension=0
    )


def product_model(weights, *, scales, tokens=TOKENS) -> bytes:
    """Return a CONV_2D of 1 x 1: input scale 0.05 and zero point 3, output 0.1 and -4."""
    (outputs, inputs), kind = weights.shape, schema.TensorType.INT8
    builder = ModelBuilder()
    graph = builder.graph("main")

    def like(shape, kind, quantization):
        return schema.TensorT(shape=list(shape), type=kind, quantization=quantization)

    x = graph.input("x", like((1, tokens, 1, inputs), kind, quantization([0.05], 3)))
    shape = (outputs, 1, 1, inputs)
    held = like(shape, schema.TensorType.INT8, quantization(scales, 0))
    weight = graph.constant(held, "w", weights.tobytes())
    biased = np.float32(0.05) * np.float32(scales)
    held = like((outputs,), schema.TensorType.INT32, quantization(biased, 0))
    bias = graph.constant(held, "b", np.zeros(outputs, np.int32).tobytes())
    y = graph.tensor(like((1, tokens, 1, outputs), kind, quantization([0.1], -4)), "y")
    options = schema.Conv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    graph.operator(schema.BuiltinOperator.CONV_2D, [x, weight, bias], [y], options)
    builder.sign("serving_default", graph, {"y": y})
    return pack(builder.build())


@pytest.fixture
def weights():
    return np.random.default_rng(1).integers(-127, 128, (OUTPUTS, INPUTS), np.int8)


@pytest.fixture
def path(tmp_path, weights):
    path = tmp_path / "product.tflite"
    path.write_bytes(product_model(weights, scales=[0.01] * OUTPUTS))
    return path


@pytest.mark.parametrize("delegated", [True, False])
def test_the_cpu_computes_what_the_weights_say(path, weights, delegated):
    product = open_product(path, delegated=delegated)
    assert product.input_shape == (1, TOKENS, 1, INPUTS)
    assert product.output_shape == (1, TOKENS, 1, OUTPUTS)
    assert product.input_quantization == (pytest.approx(0.05), 3)
    assert product.output_quantization == (pytest.approx(0.1), -4)
    values = np.random.default_rng(2).integers(-128, 128, product.input_shape, np.int8)
    made = product.run(values)
    rows = (values[0, :, 0].astype(np.int32) - 3) @ weights.T.astype(np.int32)
    right = np.clip(np.rint(rows * (0.05 * 0.01 / 0.1)) - 4, -128, 127)
    # One step: kernels round halves in their own ways.
    assert np.abs(made[0, :, 0] - right).max() <= 1
    assert product.calls == 1
    assert product.seconds > 0


def test_it_refuses_other_shapes_and_types_and_calls_after_its_end(path):
    product = open_product(path)
    with pytest.raises(InputError, match=r"takes int8 \[1, 6, 1, 8\], not int8 \[1, 5, 1, 8\]"):
        product.run(np.zeros((1, 5, 1, 8), np.int8))
    with pytest.raises(InputError, match="not float32"):
        product.run(np.zeros(product.input_shape, np.float32))
    product.close()
    with pytest.raises(InputError, match="was closed"):
        product.run(np.zeros(product.input_shape, np.int8))


def test_a_missing_file_and_one_that_is_no_product_are_refused(tmp_path, weights):
    with pytest.raises(BundleError, match=r"there is no file .*missing\.tflite"):
        open_product(tmp_path / "missing.tflite")
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model")
    with pytest.raises(BundleError, match="cannot load"):
        open_product(broken)


@pytest.fixture
def edgetpu(monkeypatch, tmp_path):
    """The Edge TPU of the rig; what it is told is in the file that is returned."""
    log = tmp_path / "log"
    monkeypatch.setenv("ALBERT_EDGE_EDGETPU_LIBRARY", str(RIG.require() / NAME))
    monkeypatch.setenv("FAKE_EDGETPU_LOG", str(log))
    external_delegate._passed.clear()
    return log


@pytest.fixture
def fault(edgetpu, monkeypatch, path):
    """A function that opens the compiled file on an Edge TPU with a fault."""

    def open_with(fault):
        monkeypatch.setenv("FAKE_EDGETPU", fault)
        return open_product(forge_file(path), accelerator="edgetpu")

    return open_with


@pytest.mark.parametrize(("tokens", "inputs", "outputs"), [(1, 1, 1), (6, 8, 5), (33, 130, 70)])
def test_the_edge_tpu_computes_bit_for_bit_what_the_cpu_does(
    edgetpu, tmp_path, tokens, inputs, outputs
):
    random, path = np.random.default_rng(3), tmp_path / "random.tflite"
    weights = random.integers(-127, 128, (outputs, inputs), np.int8)
    scales = random.uniform(0.001, 0.02, outputs)
    path.write_bytes(product_model(weights, scales=scales, tokens=tokens))
    compiled = forge_file(path)
    on_cpu, on_chip = open_product(path), open_product(compiled, accelerator="edgetpu")
    assert on_chip.input_shape == on_cpu.input_shape
    assert on_chip.input_quantization == on_cpu.input_quantization
    for _ in range(3):
        values = random.integers(-128, 128, on_cpu.input_shape, np.int8)
        made = on_chip.run(values)
        np.testing.assert_array_equal(made, on_cpu.run(values))
    assert len(np.unique(made)) > 1 or outputs == 1
    assert on_chip.calls == 3
    # Once in the child that tried it, and three times here.
    assert edgetpu.read_text().count("invoke") == 4


def test_time_on_the_device_is_counted(edgetpu, path, monkeypatch):
    compiled = forge_file(path)
    product = open_product(compiled, accelerator="edgetpu")
    product.run(np.zeros(product.input_shape, np.int8))
    quick = product.seconds
    monkeypatch.setenv("FAKE_EDGETPU_US", "20000")
    product.run(np.zeros(product.input_shape, np.int8))
    assert product.seconds - quick >= 0.02


@pytest.mark.parametrize(
    ("devices", "accelerator", "option"),
    [
        ("usb", "edgetpu", None),
        ("usb,pci", "edgetpu:usb", "usb"),
        ("usb,pci", "edgetpu:pci", "pci"),
        ("usb,pci", "edgetpu:1", ":1"),
    ],
)
def test_the_device_is_told_to_the_library(
    edgetpu, path, monkeypatch, devices, accelerator, option
):
    monkeypatch.setenv("FAKE_EDGETPU_DEVICES", devices)
    compiled = forge_file(path)
    product = open_product(compiled, accelerator=accelerator)
    assert product.accelerator == accelerator
    told = [line for line in edgetpu.read_text().splitlines() if line.startswith("device ")]
    assert told == ([] if option is None else [f"device {option}"] * 2)


def test_products_on_a_device_share_its_delegate_which_goes_with_the_last(edgetpu, path):
    compiled = forge_file(path)
    first, second = (open_product(compiled, accelerator="edgetpu:usb") for _ in range(2))
    # Once in the child, and once for both.
    assert edgetpu.read_text().count("device usb") == 2
    assert len(external_delegate._delegates) == 1
    first.close()
    assert len(external_delegate._delegates) == 1
    second.close()
    assert len(external_delegate._delegates) == 0


@pytest.mark.parametrize(
    ("accelerator", "message"),
    [
        ("edgetpu", "finds no Edge TPU. On USB"),
        ("edgetpu:pci", r"finds no Edge TPU on PCIe\. .*/dev/apex_0.*--accelerator cpu"),
        ("edgetpu:2", "finds no Edge TPU number 2, counted from 0"),
    ],
)
def test_a_missing_device(edgetpu, path, monkeypatch, accelerator, message):
    monkeypatch.setenv("FAKE_EDGETPU", "none" if accelerator == "edgetpu" else "")
    compiled = forge_file(path)
    with pytest.raises(DeviceError, match=message):
        open_product(compiled, accelerator=accelerator)


def test_a_missing_library(path, monkeypatch, tmp_path):
    compiled = forge_file(path)
    monkeypatch.setenv("ALBERT_EDGE_EDGETPU_LIBRARY", str(tmp_path / "none.so"))
    with pytest.raises(DeviceError, match=r"none\.so is not installed\. Install libedgetpu1-std"):
        open_product(compiled, accelerator="edgetpu")
    monkeypatch.setenv("ALBERT_EDGE_EDGETPU_LIBRARY", str(path))
    with pytest.raises(DeviceError, match=r"product\.tflite does not load: .*invalid ELF"):
        open_product(compiled, accelerator="edgetpu")
    monkeypatch.setenv("ALBERT_EDGE_EDGETPU_LIBRARY", "libm.so.6")
    with pytest.raises(DeviceError, match=r"libm\.so\.6 is not the library of an Edge TPU"):
        open_product(compiled, accelerator="edgetpu")


@pytest.mark.parametrize(
    ("crash", "step"),
    [
        ("crash-load", "be opened"),
        ("crash-open", r"load .*product_edgetpu\.tflite"),
        ("crash-run", r"run .*product_edgetpu\.tflite"),
    ],
)
def test_a_library_that_ends_the_process(fault, crash, step):
    with pytest.raises(DeviceError, match=rf"was to {step} \(killed by SIGSEGV\).*") as raised:
        fault(crash)
    assert runtime_name() in str(raised.value)
    assert "ALBERT_EDGE_EDGETPU_LIBRARY" in str(raised.value)


def test_a_library_that_was_built_for_an_old_runtime(edgetpu, path, monkeypatch):
    # As Coral's own, without a fault of its own: google-coral/edgetpu#812.
    monkeypatch.setenv("ALBERT_EDGE_EDGETPU_LIBRARY", str(RIG.require() / OLD))
    with pytest.raises(DeviceError, match=r"was to load .* \(killed by SIG.*TFLite 2\.5 to 2\.11"):
        open_product(forge_file(path), accelerator="edgetpu")


def test_a_device_that_hangs(fault, monkeypatch):
    monkeypatch.setattr(external_delegate, "_TRIAL_S", 3.0)
    with pytest.raises(DeviceError, match=r"did not run .*_edgetpu\.tflite within 3 s"):
        fault("hang")


def test_a_device_that_fails_at_first_and_later(fault, monkeypatch):
    with pytest.raises(DeviceError, match=r"the Edge TPU failed to run .*was unplugged"):
        fault("fail")
    product = fault("")
    monkeypatch.setenv("FAKE_EDGETPU", "fail")
    with pytest.raises(DeviceError, match=r"the Edge TPU failed to run .*was unplugged"):
        product.run(np.zeros(product.input_shape, np.int8))


def test_a_file_that_was_not_compiled(edgetpu, path):
    compiled = path.with_name("product_edgetpu.tflite")
    with pytest.raises(DeviceError, match=r"there is no .*_edgetpu\.tflite.*sh compile\.sh"):
        open_product(compiled, accelerator="edgetpu")
    with pytest.raises(DeviceError, match=r"product\.tflite was not compiled for the Edge TPU"):
        open_product(path, accelerator="edgetpu")
    assert not edgetpu.exists()  # the library was not asked


def test_a_file_of_which_the_compiler_left_operators_to_the_cpu(edgetpu, path):
    compiled = forge_file(path)
    model = parse(compiled.read_bytes())
    (graph,) = model.subgraphs
    made = graph.outputs[0]
    graph.tensors.append(schema.TensorT(**vars(graph.tensors[made])))
    graph.outputs = [len(graph.tensors) - 1]
    model.operatorCodes.append(schema.OperatorCodeT(builtinCode=schema.BuiltinOperator.RELU))
    model.operatorCodes[-1].deprecatedBuiltinCode = schema.BuiltinOperator.RELU
    graph.operators.append(
        schema.OperatorT(opcodeIndex=1, inputs=[made], outputs=list(graph.outputs))
    )
    compiled.write_bytes(pack(model))
    with pytest.raises(DeviceError, match=r"left RELU to the CPU\. albert-edge inspect"):
        open_product(compiled, accelerator="edgetpu")


def test_a_damaged_compiled_file(edgetpu, path):
    compiled = forge_file(path)
    content = bytearray(compiled.read_bytes())
    content[content.index(b"FORGED 1")] = 0
    compiled.write_bytes(content)
    with pytest.raises(DeviceError, match=r"does not run .*: .*cannot be read"):
        open_product(compiled, accelerator="edgetpu")


def test_the_cpu_refuses_a_compiled_file(path):
    with pytest.raises(BundleError, match="was compiled for the Edge TPU; a CPU runs the file"):
        open_product(forge_file(path))

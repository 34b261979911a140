"""Run a folder of the target `edgetpu`: its host graph here, its products here or on the chip.

The host graph computes the embedding, what lies between two products, and the head.  A product
multiplies rows of codes by its weights, so many at a time as it was compiled for: longer texts are
cut into parts, and the last part is padded.  So a text of any length runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from albert_edge.bundle.archive import OpenFile
from albert_edge.bundle.bundle import Bundle, read
from albert_edge.bundle.folder import compiled_file, product_file
from albert_edge.bundle.graph_check import count_operators, host_steps
from albert_edge.errors import BundleError, DeviceError, FidelityError
from albert_edge.files import read_input
from albert_edge.runtime.external_delegate import Product, check_edgetpu, open_product

if TYPE_CHECKING:
    from albert_edge.runtime.compiled_model import Acceleration

__all__ = ["Products"]

Arrays = dict[str, npt.NDArray[Any]]
Int8 = npt.NDArray[np.int8]
_QUANTIZATION = (1 / 127, 0)  # of all codes: int8 -127 to 127 stand for -1 to 1
_MOST_STEPS = 1  # a sum halfway between two codes is rounded to either


@final
class Products:
    """The open products of a folder, of one number of rows or of several.

    Attributes:
        accelerator: What computes them; see `open_product`.
    """

    def __init__(self, products: Mapping[int, Mapping[str, Product]], *, accelerator: str) -> None:
        self.accelerator = accelerator
        self._products = dict(sorted(products.items()))

    @property
    def calls(self) -> int:
        """How often products were run."""
        return sum(one.calls for one in self._all())

    @property
    def seconds(self) -> float:
        """How long all calls took, in seconds."""
        return sum(one.seconds for one in self._all())

    def _all(self) -> list[Product]:
        return [one for products in self._products.values() for one in products.values()]

    def run(self, name: str, codes: Int8) -> Int8:
        """Multiply the codes of all tokens.

        Args:
            name: The product.
            codes: int8 [T, C].

        Returns:
            int8 [T, K].
        """
        parts, begin = [], 0
        for rows in split_rows(len(codes), tuple(self._products)):
            product = self._products[rows][name]
            part = codes[begin : begin + rows]
            given = np.zeros(product.input_shape, np.int8)  # [1, rows, 1, C]
            given[0, : len(part), 0] = part
            parts.append(product.run(given)[0, : len(part), 0])
            begin += rows
        return np.concatenate(parts)  # [T, K]

    def compare(self, reference: Products) -> int:
        """Return by how many codes a product differs from that of `reference`, on random codes.

        Raises:
            FidelityError: It is more than two ways of rounding explain.
        """
        random, most = np.random.default_rng(0), 0
        for product, right in zip(self._all(), reference._all(), strict=True):
            codes = random.integers(-127, 128, product.input_shape, np.int8)
            made, expected = product.run(codes).astype(np.int16), right.run(codes)
            difference = int(np.abs(made - expected).max())
            if difference > _MOST_STEPS:
                raise FidelityError(
                    f"{product.where} is computed wrong by {name_device(self.accelerator)}: a code "
                    f"is off by {difference} of 127, and rounding explains {_MOST_STEPS}. If it is "
                    "of an earlier conversion, compile the folder's files again: sh compile.sh. Or "
                    "use --accelerator cpu."
                )
            most = max(most, difference)
        return most

    def close(self) -> None:
        """Release the weights, and the device."""
        for one in self._all():
            one.close()


def split_rows(count: int, sizes: tuple[int, ...]) -> list[int]:
    """Return the sizes of the parts that `count` rows are cut into; the last may be padded.

    As many as possible of the largest, and for the rest the least that holds it.

    Example:
        >>> split_rows(300, (32, 128))
        [128, 128, 128]
        >>> split_rows(150, (32, 128))
        [128, 32]
    """
    parts = []
    while count > 0:
        rows = next((size for size in sizes if size >= count), sizes[-1])
        parts.append(rows)
        count -= rows
    return parts


def open_products(
    file: OpenFile,
    bundle: Bundle,
    *,
    accelerator: str = "cpu",
    threads: int = 1,
    check: bool = True,
    delegated: bool = True,
) -> Products:
    """Open the products beside a host graph.

    Args:
        file: The host graph's file.
        bundle: Its content.
        accelerator: What computes the products; see `open_product`.
        threads: How many CPU threads to use.
        check: Whether to check first that each product is the one that was written with the host
            graph; or to try an Edge TPU in a child process, which its library may end.
        delegated: Whether XNNPACK may run them on the CPU.

    Raises:
        BundleError: The host graph is not in its folder, or a product is missing, damaged, or not
            of this folder.
        DeviceError: No TFLite runtime is installed, or no such device.
    """
    if file.path is None:
        raise BundleError(
            f"{file.where} is the host graph of a folder of --target edgetpu, and needs the "
            "products beside it: open the folder."
        )
    paths = _product_paths(file.path.parent, bundle, compiled=accelerator != "cpu")
    if check and accelerator == "cpu":
        for (rows, name), path in paths.items():
            _check_digest(path, bundle.products[rows][name], where=file.where)
    elif check:
        check_edgetpu(list(paths.values()), accelerator=accelerator)
    options: Any = {"threads": threads, "delegated": delegated, "check": False}
    products: dict[int, dict[str, Product]] = {rows: {} for rows in bundle.products}
    for (rows, name), path in paths.items():
        product = open_product(path, accelerator=accelerator, **options)
        _check_shape(product, bundle, name, rows)
        products[rows][name] = product
    return Products(products, accelerator=accelerator)


def _product_paths(folder: Path, bundle: Bundle, *, compiled: bool) -> dict[tuple[int, str], Path]:
    """Return the files of the products by their rows and names."""
    name_file = compiled_file if compiled else product_file
    return {
        (rows, name): folder / name_file(name, rows)
        for rows, digests in bundle.products.items()
        for name in digests
    }


def check_compiled(source: str, *, accelerator: str) -> dict[str, Any]:
    """Run the compiled products of a folder once on an Edge TPU, in a child process.

    Args:
        source: The folder, or its host graph.
        accelerator: Which Edge TPU; see `open_product`.

    Returns:
        The `device`, as reports name it.

    Raises:
        BundleError: The host graph is missing or damaged.
        DeviceError: It is no folder of the target `edgetpu`, its products were not compiled, or an
            Edge TPU does not run them.
    """
    file = OpenFile(source)
    bundle = read(file)
    require_products(file, bundle)
    assert file.path is not None  # noqa: S101 (for mypy: `source` is a path)
    paths = _product_paths(file.path.parent, bundle, compiled=True)
    check_edgetpu(list(paths.values()), accelerator=accelerator)
    return {"device": name_device(accelerator)}


def require_products(file: OpenFile, bundle: Bundle) -> None:
    """Check that a file is the host graph of a folder, which an Edge TPU can run.

    Raises:
        DeviceError: It is not.
    """
    if not bundle.products:
        raise DeviceError(
            f"{file.where} is one file, and an Edge TPU runs the products of a layer, each a file "
            "of its own: convert the checkpoint with --target edgetpu, which writes a folder."
        )


def name_device(accelerator: str) -> str:
    """Return what reports call an Edge TPU: its library tells no name.

    Example:
        >>> name_device("edgetpu"), name_device("edgetpu:usb"), name_device("edgetpu:1")
        ('an Edge TPU', 'an Edge TPU on USB', 'Edge TPU number 1')
    """
    device = accelerator.partition(":")[2]
    if device.isdigit():
        return f"Edge TPU number {device}"
    return "an Edge TPU" + {"usb": " on USB", "pci": " on PCIe"}.get(device, "")


def describe_products(
    file: OpenFile, bundle: Bundle, products: Products, *, threads: int, check: bool
) -> Acceleration:
    """Return what an Edge TPU runs of a folder.

    Args:
        file: The host graph's file.
        bundle: Its content.
        products: What `open_products` returned.
        threads: How many CPU threads to use for a comparison.
        check: Whether to compare each product with the CPU's.

    Raises:
        FidelityError: The Edge TPU's differs by more than rounding.
    """
    from albert_edge.runtime.compiled_model import Acceleration

    operators, _ = count_operators(file.view(), where=file.where)
    count, difference = sum(map(len, bundle.products.values())), None
    if check:
        on_cpu = open_products(file, bundle, threads=threads)
        difference = products.compare(on_cpu) * _QUANTIZATION[0]
        on_cpu.close()
    return Acceleration(
        accelerator=products.accelerator,
        device=name_device(products.accelerator),
        is_software=False,
        operators=operators + count,
        operators_accelerated=count,
        on_cpu=("the host graph",),
        difference=difference,
        limit=_MOST_STEPS * _QUANTIZATION[0],
    )


def _check_digest(path: Path, digest: str, *, where: str) -> None:
    try:
        found = hashlib.sha256(read_input(path)).hexdigest()
    except FileNotFoundError as error:
        raise BundleError(
            f"{path} is missing, which {where} needs: copy the whole folder, or convert the "
            "checkpoint again with --target edgetpu."
        ) from error
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}.") from error
    if found != digest:
        raise BundleError(
            f"{path} is damaged, or of another conversion than {where} (its SHA-256 differs): copy "
            "the whole folder again, or convert the checkpoint again with --target edgetpu."
        )


def _check_shape(product: Product, bundle: Bundle, name: str, rows: int) -> None:
    """Check what a compiled file shows of itself: its digest is known to the compiler only."""
    read, made = bundle.config.product_sizes()[name]
    shapes = (1, rows, 1, read), (1, rows, 1, made)
    found = product.input_shape, product.output_shape
    scales = product.input_quantization, product.output_quantization
    if found != shapes or not np.allclose(scales, _QUANTIZATION, rtol=1e-6, atol=0):
        raise BundleError(
            f"{product.where} is not the product {name} of {rows} rows: it makes int8 "
            f"{list(found[1])} of {list(found[0])} at the scales {scales[0][0]:.6g} and "
            f"{scales[1][0]:.6g}, instead of {list(shapes[1])} of {list(shapes[0])} at 1/127. "
            "Compile the files of this folder again: sh compile.sh."
        )


def compose_passes(
    bundle: Bundle, signature: Callable[[str], Any], products: Products
) -> list[Callable[..., Arrays]]:
    """Return a function for each pass, from `hidden_states` [T, H] to `hidden_states`.

    Args:
        bundle: The content of the host graph's file.
        signature: Returns the runner of a signature of the host graph.
        products: The products that it needs.
    """
    steps, config = host_steps(bundle), bundle.config
    groups = []
    for group in range(config.num_hidden_groups):
        prefixes = [config.product_prefix(group, i) for i in range(config.inner_group_num)]
        names = [name for prefix in prefixes for name in steps if name.startswith(prefix)]
        plan = [(name, signature(name), tuple(steps[name][0])) for name in names]
        groups.append(_compose_pass(plan, products))
    return [groups[config.group_of_layer(index)] for index in range(config.num_hidden_layers)]


def _compose_pass(
    plan: list[tuple[str, Any, tuple[str, ...]]], products: Products
) -> Callable[..., Arrays]:
    def run(**state: npt.NDArray[Any]) -> Arrays:
        for name, runner, inputs in plan:
            state |= runner(**{key: state[key] for key in inputs})
            if not name.endswith("layer_output"):  # the last: it reads the last product
                state["codes"] = products.run(name, state["codes"])
        return {"hidden_states": state["hidden_states"]}

    return run

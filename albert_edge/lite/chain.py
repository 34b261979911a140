"""Run pieces one after another, some of them from another recipe, and compare what comes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from albert_edge.config import AlbertConfig
from albert_edge.lite.builder import Piece
from albert_edge.lite.pieces import Pieces
from albert_edge.lite.steps import MOST, Array
from albert_edge.runtime.interpreter import open_interpreter

__all__ = ["Chain"]

_THREADS = 2  # one more than cores that share a cache gains little at a few dozen tokens
State = Mapping[str, Array]


class Chain:
    """Reference pieces that have read some texts, and everything they said on the way.

    Places in the chain are depths: 0 is `embed`, 1 to N are the passes, N + 1 is `head`.

    Args:
        pieces: One model's stages, for texts of any length.
        config: The model's shape.
        rows: Texts as `input_ids` and `token_type_ids`.
    """

    def __init__(
        self, pieces: Pieces, config: AlbertConfig, rows: Sequence[Mapping[str, Sequence[int]]]
    ) -> None:
        self._config = config
        self._reference = self._open(pieces)
        self._texts: list[list[State]] = []  # of every text, what goes into each depth, and out
        # Sorted, so that a runtime plans its memory once for each length.
        for row in sorted(rows, key=lambda row: len(row["input_ids"])):
            states: list[State] = [
                {name: np.asarray([values], np.int32) for name, values in row.items()}
            ]
            for stage in self._reference:
                states.append(stage.run(states[-1]))
            self._texts.append(states)

    def differing(self, pieces: Pieces, other: Pieces) -> list[int]:
        """Return the depths at which two models' pieces are not the same."""
        pairs = zip(self._blobs(pieces), self._blobs(other), strict=True)
        return [depth for depth, (one, two) in enumerate(pairs) if one != two]

    def errors(
        self,
        other: Pieces,
        plans: Sequence[Collection[int]],
        *,
        advance: Callable[[], object] = lambda: None,
    ) -> list[dict[str, float]]:
        """Put other pieces into the chain and compare what comes out.

        Args:
            other: The same model's stages, in any types.
            plans: Sets of depths at which to run `other`, each with at least one.
            advance: Called after every text.

        Returns:
            For every plan, by output (`last_hidden_state` and the task's), the root mean square
            of the difference from the reference's over that of the reference's.
        """
        stages = self._open(other)
        wrong: list[Counter[str]] = [Counter() for _ in plans]
        size: Counter[str] = Counter()
        for states in self._texts:
            wanted = _outputs(states[-2:])
            size.update({name: _square(values) for name, values in wanted.items()})
            for plan, sums in zip(plans, wrong, strict=True):
                got = _outputs(list(self._run(stages, plan, states))[-2:])
                sums.update({name: _square(got[name] - wanted[name]) for name in wanted})
            advance()
        least = np.finfo(np.float64).tiny
        return [
            {name: float(np.sqrt(sums[name] / max(size[name], least))) for name in size}
            for sums in wrong
        ]

    def _run(
        self, stages: Sequence[_Stage], plan: Collection[int], states: Sequence[State]
    ) -> Iterator[State]:
        """Yield the state before the first depth of `plan`, and that after each from there on."""
        state = states[min(plan)]
        yield state
        for depth in range(min(plan), len(self._reference)):
            state = (stages if depth in plan else self._reference)[depth].run(state)
            yield state

    def _open(self, pieces: Pieces) -> list[_Stage]:
        opened = {blob: _Stage(blob) for blob in (pieces.embed, *pieces.layers, pieces.head)}
        return [opened[blob] for blob in self._blobs(pieces)]

    def _blobs(self, pieces: Pieces) -> list[bytes]:
        config = self._config
        groups = [config.group_of_layer(index) for index in range(config.num_hidden_layers)]
        return [pieces.embed, *(pieces.layers[group] for group in groups), pieces.head]


class _Stage:
    """A piece in an interpreter; floats go in and come out, whatever its own types are."""

    def __init__(self, blob: bytes) -> None:
        piece = Piece(blob, "stage")
        self._runtime = open_interpreter(blob, threads=_THREADS)
        self._inputs = _steps(piece.inputs, self._runtime.get_input_details())
        self._outputs = _steps(piece.outputs, self._runtime.get_output_details())
        self._count = 0

    def run(self, state: State) -> State:
        runtime = self._runtime
        arrays = {name: _stored(state[name], step) for name, (_, step) in self._inputs.items()}
        if (count := next(iter(arrays.values())).size) != self._count:
            for name, (tensor, _) in self._inputs.items():
                runtime.resize_tensor_input(tensor, arrays[name].shape)
            runtime.allocate_tensors()
            self._count = count
        for name, (tensor, _) in self._inputs.items():
            runtime.set_tensor(tensor, arrays[name])
        runtime.invoke()
        outputs = self._outputs.items()
        return {name: _floats(runtime.get_tensor(tensor), step) for name, (tensor, step) in outputs}


def _steps(edges: Mapping[str, int], details: Sequence[Any]) -> dict[str, tuple[int, float]]:
    """Return each tensor, and the size of its steps: 0 where it has none.

    Between pieces there are floats, and symmetric integers of 16 bits.
    """
    scales = {entry["index"]: float(entry["quantization"][0]) for entry in details}
    return {name: (tensor, scales[tensor]) for name, tensor in edges.items()}


def _stored(values: Array, step: float) -> Array:
    if not step:
        return values
    return np.clip(np.round(values / step), -MOST["int16"], MOST["int16"]).astype(np.int16)


def _floats(stored: Array, step: float) -> Array:
    return stored * np.float32(step) if step else stored


def _outputs(states: Sequence[State]) -> dict[str, Array]:
    """Return what comes out, of the states before and after the head."""
    before, after = states
    return {"last_hidden_state": before["hidden_states"][None], **after}


def _square(values: Array) -> float:
    return float(np.square(values, dtype=np.float64).sum())

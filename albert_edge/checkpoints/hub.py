"""A model of the Hugging Face Hub becomes a directory, in the Hub's own cache."""

from __future__ import annotations

import re
from pathlib import Path

from albert_edge.checkpoints.folder import holds
from albert_edge.checkpoints.huggingface import CONFIG, TOKENIZER_FILES, WEIGHTS
from albert_edge.errors import CheckpointError, MissingExtraError

__all__ = ["download", "is_hub_id"]

_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
# One kind of weights is enough, and the Hub often has three.
_KINDS = (
    ["model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"],
    ["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"],
    ["*.h5"],
)


def is_hub_id(name: str) -> bool:
    """Tell whether `name` could be a model of the Hub: its owner, a slash, its own name.

    Example:
        >>> is_hub_id("albert/albert-base-v2"), is_hub_id("./albert"), is_hub_id("a/b/c")
        (True, False, False)
    """
    return len(name) <= 96 and _ID.fullmatch(name) is not None


def download(name: str) -> Path:
    """Return the directory of a model's files, downloaded unless the Hub's cache has them.

    The cache and the network are those of huggingface_hub, and its environment variables hold:
    `HF_HOME`, `HF_TOKEN`, and `HF_HUB_OFFLINE=1` to use the cache alone.

    Raises:
        CheckpointError: There is no such model, or no way to it.
        MissingExtraError: huggingface_hub is not installed.
    """
    try:
        import huggingface_hub as hub
        from huggingface_hub import errors
    except ModuleNotFoundError as error:
        raise MissingExtraError("huggingface_hub", "convert") from error
    # HTTPError is that of the HTTP library, which has changed.
    failures = (OSError, ValueError, getattr(errors, "HTTPError", errors.HfHubHTTPError))
    try:
        for kind in _KINDS:
            found = hub.snapshot_download(name, allow_patterns=[CONFIG, *TOKENIZER_FILES, *kind])
            if any(holds(Path(found), weights) for weights in WEIGHTS):
                break
    except failures as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{name!r} is no directory here, and as a model of the Hugging Face Hub it cannot be "
            f"had: {reason.rstrip('.')}. Check the name and the network, or download it elsewhere "
            "and give its directory."
        ) from error
    return Path(found)

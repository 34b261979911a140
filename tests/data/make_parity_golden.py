"""Write the parity directories: small ALBERTs with the answers of Hugging Face's torch.

Not run by the tests.  Run it in an environment of its own; the same versions on the same kind of
processor give the same files:

    python3.11 -m venv /tmp/torch-env
    /tmp/torch-env/bin/pip install torch==2.13.0 transformers==5.23.0 safetensors numpy
    /tmp/torch-env/bin/python tests/data/make_parity_golden.py

Each directory is what `save_pretrained` writes, and beside it `golden.npz`: the inputs of a padded
batch and of one text alone, and what the model answers to both.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AlbertForPreTraining,
    AlbertForQuestionAnswering,
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
    AlbertModel,
)

HERE = Path(__file__).parent / "parity"
SMALL = {
    "vocab_size": 40,
    "embedding_size": 16,
    "hidden_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "hidden_act": "gelu_new",
}
# Directory → class and what differs from SMALL.
CASES = {
    "base_classification": (
        AlbertForSequenceClassification,
        {"id2label": {0: "bad", 1: "so-so", 2: "good"}, "num_hidden_layers": 6},
    ),
    "gelu_features": (AlbertModel, {"hidden_act": "gelu"}),
    "gelu_pytorch_tanh_answers": (
        AlbertForQuestionAnswering,
        {"hidden_act": "gelu_pytorch_tanh"},
    ),
    "relu_classification": (AlbertForSequenceClassification, {"hidden_act": "relu"}),
    "two_groups_answers": (AlbertForQuestionAnswering, {"num_hidden_groups": 2}),
    "three_groups_of_five_features": (
        AlbertModel,
        {"num_hidden_groups": 3, "num_hidden_layers": 5},
    ),
    "inner_two_classification": (
        AlbertForSequenceClassification,
        {"num_hidden_groups": 2, "inner_group_num": 2},
    ),
    "square_features": (AlbertModel, {"embedding_size": 24}),
    "odd_one_type_answers": (
        AlbertForQuestionAnswering,
        {
            "vocab_size": 41,
            "embedding_size": 7,
            "hidden_size": 15,
            "num_hidden_layers": 3,
            "num_attention_heads": 5,
            "intermediate_size": 37,
            "max_position_embeddings": 19,
            "type_vocab_size": 1,
        },
    ),
    "no_pooler_features": (AlbertModel, {}),
    "pretraining_features": (AlbertForPreTraining, {}),
    "groups_of_two_tags": (
        AlbertForTokenClassification,
        {
            "id2label": dict(enumerate(("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))),
            "num_hidden_groups": 2,
            "inner_group_num": 2,
        },
    ),
    "gelu_masks": (AlbertForMaskedLM, {"hidden_act": "gelu"}),
    "groups_of_two_masks": (
        AlbertForMaskedLM,
        {"num_hidden_groups": 2, "inner_group_num": 2, "hidden_act": "relu"},
    ),
    "stored_decoder_masks": (AlbertForMaskedLM, {"vocab_size": 41}),
    "three_groups_pretraining": (
        AlbertForPreTraining,
        {"num_hidden_groups": 3, "num_hidden_layers": 5},
    ),
    "square_pretraining": (AlbertForPreTraining, {"embedding_size": 24}),
    "regression_classification": (
        AlbertForSequenceClassification,
        {"num_labels": 1, "problem_type": "regression"},
    ),
    "multi_label_classification": (
        AlbertForSequenceClassification,
        {
            "id2label": dict(enumerate(("cheap", "fast", "good", "old"))),
            "problem_type": "multi_label_classification",
        },
    ),
}


def scramble(model: torch.nn.Module) -> None:
    """Give every weight a size that training gives it, so that no output is nearly constant."""
    with torch.no_grad():
        for name, values in model.named_parameters():
            if name.endswith(("LayerNorm.weight", "layer_norm.weight")):
                values.normal_(1.0, 0.2)
            elif values.ndim == 2:
                values.normal_(0.0, 1.0 / values.shape[1] ** 0.5)
            else:
                values.normal_(0.0, 0.2)


def with_stored_decoder(folder: Path, kind: type[torch.nn.Module]) -> torch.nn.Module:
    """Store the tied decoder too, as old versions did, and read the model again.

    The bias is stored twice with different values, as a version that added both left it: what
    the model answers tells which of them counts.
    """
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["predictions.decoder.weight"] = tensors["albert.embeddings.word_embeddings.weight"] + 0
    tensors["predictions.decoder.bias"] = tensors["predictions.bias"].flip(0) * 1
    save_file(tensors, path, metadata={"format": "pt"})
    return kind.from_pretrained(folder).eval()


def inputs(config: AlbertConfig, random: np.random.Generator) -> dict[str, dict[str, np.ndarray]]:
    """Draw a padded batch with token types, and one text of another length with nothing else."""
    length = config.max_position_embeddings - 6
    shape = (3, length)
    mask = np.arange(length) < np.array([[length], [length - 5], [4]])
    return {
        "padded": {
            "input_ids": random.integers(0, config.vocab_size, shape, np.int32) * mask,
            "token_type_ids": random.integers(0, config.type_vocab_size, shape, np.int32) * mask,
            "attention_mask": mask.astype(np.int32),
        },
        "alone": {
            "input_ids": random.integers(
                0, config.vocab_size, (1, config.max_position_embeddings), np.int32
            ),
        },
    }


def main() -> None:
    """Write every directory."""
    for seed, (name, (kind, changes)) in enumerate(CASES.items()):
        torch.manual_seed(seed)
        config = AlbertConfig(**{**SMALL, **changes})
        options = {"add_pooling_layer": False} if name.startswith("no_pooler") else {}
        model = kind(config, **options).eval()
        scramble(model)
        model.save_pretrained(HERE / name)
        if name.startswith("stored_decoder"):
            model = with_stored_decoder(HERE / name, kind)
        answering = model.albert if name == "pretraining_features" else model
        golden = {}
        for case, arrays in inputs(config, np.random.default_rng(seed)).items():
            with torch.no_grad():
                outputs = answering(
                    **{key: torch.from_numpy(array).long() for key, array in arrays.items()}
                )
            golden |= {f"{case}/{key}": array for key, array in arrays.items()}
            golden |= {
                f"{case}/{key}": array.numpy()
                for key, array in outputs.items()
                if array is not None
            }
        np.savez(HERE / name / "golden.npz", **golden)


if __name__ == "__main__":
    main()

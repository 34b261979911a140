"""Write the directories of `bert_parity`: small BERTs with the answers of Hugging Face's torch.

Not run by the tests; see `make_parity_golden.py`, beside which it runs in the same environment:

    /tmp/torch-env/bin/python tests/data/make_bert_parity_golden.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from make_parity_golden import inputs, scramble
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    DistilBertModel,
)

HERE = Path(__file__).parent / "bert_parity"
BERT = {
    "vocab_size": 40,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
}
DISTILBERT = {
    "vocab_size": 40,
    "dim": 24,
    "n_layers": 3,
    "n_heads": 3,
    "hidden_dim": 48,
    "max_position_embeddings": 24,
}
LABELS = {"id2label": {0: "bad", 1: "so-so", 2: "good"}}
ODD: dict[str, Any] = {
    "vocab_size": 41,
    "hidden_size": 15,
    "num_hidden_layers": 2,
    "num_attention_heads": 5,
    "intermediate_size": 37,
    "max_position_embeddings": 19,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "hidden_act": "gelu_new",
}
# Directory → class and what differs from BERT or DISTILBERT.
CASES: dict[str, tuple[type, dict[str, Any]]] = {
    "bert_classification": (BertForSequenceClassification, LABELS),
    "bert_features": (BertModel, {"hidden_act": "relu"}),
    "bert_without_pooler_features": (BertModel, {}),
    "bert_odd_bin_answers": (BertForQuestionAnswering, ODD),
    "bert_tags": (BertForTokenClassification, LABELS),
    "bert_masks": (BertForMaskedLM, {}),
    "bert_pretraining_masks": (BertForPreTraining, {"hidden_act": "gelu_new"}),
    "bert_regression_classification": (
        BertForSequenceClassification,
        {"num_labels": 1, "problem_type": "regression"},
    ),
    "distilbert_classification": (DistilBertForSequenceClassification, LABELS),
    "distilbert_bin_features": (DistilBertModel, {}),
    "distilbert_answers": (DistilBertForQuestionAnswering, {"sinusoidal_pos_embds": True}),
    "distilbert_tags": (DistilBertForTokenClassification, {**LABELS, "activation": "relu"}),
    "distilbert_masks": (DistilBertForMaskedLM, {"vocab_size": 41}),
}


def save(model: torch.nn.Module, folder: Path) -> None:
    """Save safetensors or, where the name says so, a pickle with the names of 2018."""
    model.save_pretrained(folder)
    if "_bin_" not in folder.name:
        return
    (folder / "model.safetensors").unlink()
    renames = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    tensors = {}
    for name, values in model.state_dict().items():
        for new, old in renames.items():
            name = name.replace(new, old) if folder.name.startswith("bert") else name
        tensors[name] = values
    torch.save(tensors, folder / "pytorch_model.bin")


def main() -> None:
    """Write every directory."""
    for seed, (name, (kind, changes)) in enumerate(CASES.items()):
        torch.manual_seed(seed)
        bert = name.startswith("bert")
        config = BertConfig(**{**BERT, **changes}) if bert else None
        config = config or DistilBertConfig(**{**DISTILBERT, **changes})
        options = {"add_pooling_layer": False} if "without_pooler" in name else {}
        model = kind(config, **options).eval()
        scramble(model)
        save(model, HERE / name)
        config.type_vocab_size = getattr(config, "type_vocab_size", 2)  # for `inputs`
        golden = {}
        for case, arrays in inputs(config, np.random.default_rng(seed)).items():
            read = {key: array for key, array in arrays.items() if bert or key != "token_type_ids"}
            with torch.no_grad():
                outputs = model(**{k: torch.from_numpy(v).long() for k, v in read.items()})
            golden |= {f"{case}/{key}": array for key, array in arrays.items()}
            golden |= {
                f"{case}/{'logits' if key == 'prediction_logits' else key}": array.numpy()
                for key, array in outputs.items()
                if array is not None and key != "seq_relationship_logits"
            }
        np.savez(HERE / name / "golden.npz", **golden)


if __name__ == "__main__":
    main()

"""Write a small encoder as the TF-Hub encoders of version 2 were written, and what it computes.

Needs TensorFlow's own model garden, whose exporter this runs:

    python -m venv /tmp/tf-hub
    /tmp/tf-hub/bin/pip install tensorflow==2.21.0 tf_keras==2.21.0 gin-config==0.5.0 pyyaml \
        tensorflow-model-optimization==0.8.1 sentencepiece
    /tmp/tf-hub/bin/pip install --no-deps tf-models-official==2.20.0 tensorflow-hub==0.16.1 \
        tensorflow-datasets==4.9.10
    /tmp/tf-hub/bin/python tests/data/make_tf_hub_golden.py
"""

from __future__ import annotations

import lzma
import os
import shutil
import tempfile
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import sentencepiece
import tensorflow as tf
from official.nlp.configs import encoders
from official.nlp.modeling import models
from official.nlp.tools import export_tfhub_lib

HERE = Path(__file__).parent
MADE = HERE / "foreign" / "tf_hub_2"
IDS = [[2, 7, 19, 4, 11, 3], [2, 23, 5, 3, 0, 0]]
TYPES = [[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0]]


def main() -> None:
    config = encoders.EncoderConfig(
        type="albert",
        albert=encoders.AlbertEncoderConfig(
            vocab_size=30,
            embedding_width=6,
            hidden_size=8,
            num_layers=3,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=12,
        ),
    )
    with tempfile.TemporaryDirectory() as name:
        model = models.BertPretrainerV2(encoder_network=encoders.build_encoder(config))
        model(model.inputs)
        random = np.random.default_rng(5)
        model.set_weights([random.normal(0, 0.5, v.shape) for v in model.get_weights()])
        saved = tf.train.Checkpoint(**model.checkpoint_items).save(f"{name}/model")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["the tea is hot and the hat is neat"] * 9),
            model_prefix=f"{name}/30k-clean",
            vocab_size=30,
            hard_vocab_limit=False,
            pad_id=0,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            control_symbols="[CLS],[SEP]",
            user_defined_symbols="[MASK]",
            normalization_rule_name="identity",  # the table of any other takes 240 KB
        )
        export_tfhub_lib.export_model(
            f"{name}/hub",
            encoder_config=config,
            model_checkpoint_path=saved,
            with_mlm=True,
            sp_model_file=f"{name}/30k-clean.model",
        )
        keep(Path(name) / "hub")


def keep(hub: Path) -> None:
    """Keep what was exported, and what it computes once it is loaded again."""
    inputs = {
        "input_word_ids": tf.constant(IDS),
        "input_mask": tf.cast(tf.constant(IDS) != 0, tf.int32),
        "input_type_ids": tf.constant(TYPES),
        "masked_lm_positions": tf.constant([[1, 3], [0, 2]]),
    }
    outputs = tf.saved_model.load(str(hub)).mlm(inputs)
    names = ("sequence_output", "pooled_output", "mlm_logits")
    shutil.rmtree(MADE, ignore_errors=True)
    shutil.copytree(hub, MADE, ignore=shutil.ignore_patterns("keras_metadata.pb", "fingerprint.pb"))
    computation = MADE / "saved_model.pb"
    computation.with_suffix(".pb.xz").write_bytes(lzma.compress(computation.read_bytes()))
    computation.unlink()  # thirty times as large
    np.savez(
        MADE / "golden.npz",
        **{key: value.numpy() for key, value in inputs.items()},
        **{key: outputs[key].numpy() for key in names},
    )


if __name__ == "__main__":
    main()

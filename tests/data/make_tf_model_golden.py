"""Write the weights of two small checkpoints as transformers' TensorFlow classes write them.

Needs the last kind of transformers that had TensorFlow classes, beside the TensorFlow of the
`convert` extra:

    python -m venv /tmp/tf-model
    /tmp/tf-model/bin/pip install transformers==4.46.3 tensorflow==2.21.0 tf-keras==2.21.0
    /tmp/tf-model/bin/python tests/data/make_tf_model_golden.py
"""

from __future__ import annotations

import shutil
from pathlib import Path

import transformers

HERE = Path(__file__).parent
CASES = {
    "odd_one_type_answers": transformers.TFAlbertForQuestionAnswering,
    "square_pretraining": transformers.TFAlbertForPreTraining,
}


def main() -> None:
    for name, kind in CASES.items():
        made = HERE / "foreign" / f"tf_model_{name}"
        shutil.rmtree(made, ignore_errors=True)
        model = kind.from_pretrained(HERE / "parity" / name)
        if hasattr(model, "predictions"):  # it computes with a second bias, which torch has no more
            model.predictions.decoder_bias.assign(model.predictions.bias)
        model.save_pretrained(made, safe_serialization=False)
        # This version of transformers writes settings that the tests do not need.
        shutil.copy(HERE / "parity" / name / "config.json", made)


if __name__ == "__main__":
    main()

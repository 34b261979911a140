"""Training of an ALBERT: from data files to checkpoints."""

import os

# Products by oneDNN take two thirds of the time; TensorFlow has them on by default on some CPUs.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

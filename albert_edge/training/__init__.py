"""Training of an ALBERT: from data files to checkpoints."""

"""Teach an ALBERT: tables of labelled text in, checkpoints out."""

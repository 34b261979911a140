"""Teach an ALBERT language from plain text: masked words and the order of sentences."""

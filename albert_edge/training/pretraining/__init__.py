"""Teach an ALBERT language from plain text: hidden words and the order of segments.

Lan et al. 2020, arXiv:1909.11942, sec. 3.1 and 4.1.
"""

"""Pre-training on plain text: masked language modeling and the order of segments.

Lan et al. 2020, arXiv:1909.11942, sec. 3.1 and 4.1.
"""

"""Measure models on the device: one configuration, one fresh process.

`measure.measure` takes one measurement; `run.benchmark` compares many files and settings.
"""

# The worker process imports this package before it measures its own memory, so nothing is imported
# here: the memory attributed to the model must not depend on what the host side needs.

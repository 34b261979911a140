"""Measure a model on the device: one configuration, one fresh process.

`measure` takes one measurement, `machine` tells where, `report` shows many.
"""

# The worker process imports this package before it looks at its own memory, so nothing is imported
# here: what a measurement charges to the model must not depend on what the harness needs.

"""Where a measurement is taken: the devices, each in the module of its kind."""

from __future__ import annotations

from albert_edge.benchmark.devices.device import Device, Local, open_device, read_answer

__all__ = ["Device", "Local", "open_device", "read_answer"]

"""The devices that measurements run on: each kind is one module with a `connect(address)`.

`device.open_device` opens the one at an address.
"""

"""Runtimes that a desktop does not have, for the tests: installed into a folder of their own.

`python -m tests.rigs install` installs them without root and changes nothing outside the folder.
"""

"""Stores: what the broker asked to be kept.

* ``memory``: keeps nothing beyond the broker's own memory; messages end with the process.
"""

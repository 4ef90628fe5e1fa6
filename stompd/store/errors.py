"""What a store raises; the text of each is a sentence for people.

* `StoreError`

  * `StoreLockedError`: another process has the directory
  * `StoreVersionError`: the file is not one that this program can read
  * `StoreFullError`: there is no room; nothing was written, and there may be room later
  * `StoreFailedError`: the disk or the file cannot be trusted any more
"""

from __future__ import annotations


class StoreError(Exception):
    """The store cannot do what it was asked for."""


class StoreLockedError(StoreError):
    """Another process has the directory."""


class StoreVersionError(StoreError):
    """The file is none of stompd's, or was written by a newer one."""


class StoreFullError(StoreError):
    """There is no room for what was to be written; nothing of it is, and it may be tried again."""


class StoreFailedError(StoreError):
    """The disk or the file cannot be trusted any more."""

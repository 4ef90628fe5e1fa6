"""Stores: what the broker asked to be kept.

* ``memory``: keeps nothing beyond the broker's own memory; messages end with the process.
* ``sqlite``: keeps messages in a file of SQLite, with ``schema.sql`` for its tables;

  * ``batch``: what was told and is not written yet;
  * ``record``: a message as a row, and back;
  * ``database``: the file, and its versions;
  * ``statements``: what is said to SQLite;
  * ``upkeep``: what people do with the file: look, check, make it smaller;
  * ``transfer``: everything as lines of JSON, and back;
  * ``lock``: one process for each directory.

* ``errors``: what a store raises.
"""

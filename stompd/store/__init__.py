"""Stores: what the broker asked to be kept.

* ``memory``: keeps nothing beyond the broker's own memory; messages end with the process.
* ``sqlite``: keeps messages in a file of SQLite, with ``schema.sql`` for its tables and a journal
  in front of them;

  * ``batch``: what was told and is not written yet;
  * ``record``: a message as a row, and back;
  * ``changes``: a batch as rows, and what becomes of many of them together;
  * ``journal``: the file that makes a small batch durable with one write;
  * ``tables``: what changes do to the tables;
  * ``answers``: messages out of the tables;
  * ``database``: the file, and its versions;
  * ``statements``: what is said to SQLite;
  * ``backup``: a copy while stompd goes on;
  * ``upkeep``: what people do with the file: look, check, make it smaller;
  * ``transfer``: everything as lines of JSON, and back;
  * ``lock``: one process for each directory.

* ``errors``: what a store raises.
"""

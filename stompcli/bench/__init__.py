"""Load for a broker, any broker, and what became of every message of it.

The map of this package, from the bottom up:

* ``histogram``: `Histogram`, times in buckets; ``account``: `Account` and `Order`, what was lost,
  came twice or came too late.
* ``payload``: the marks in bodies, and the frames around them.
* ``plan``: `Plan`, what one run does.
* ``peers``: `Sender`, `Receiver` and `Visitor`, each with a connection of its own.
* ``run``: one run from its first connection to its last.
* ``result``: `Result`, as text, JSON, CSV and .hgrm.
"""

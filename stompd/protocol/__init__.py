"""STOMP 1.0, 1.1 and 1.2 without I/O: bytes in, frames out, and back.

The map of this package:

* ``frame``: what a frame is to the rest of the program (`Head`, `Frame`) and the protocol's words.
* ``errors``: the two kinds of protocol error, ours and the peer's.
* ``headers``: one header block, bytes to names and values, per version.
* ``decoder``: any split of a byte stream to the same frames, within limits.
* ``encoder``: frames to bytes, per version.
* ``rules``: which frame needs what, as tables, and version negotiation.
* ``heartbeat``: the arithmetic of the ``heart-beat`` header.
* ``telnet``: the few telnet commands that people's terminals mix into a STOMP stream.

Nothing here waits, reads a clock, logs, or knows of a broker or a client.
"""

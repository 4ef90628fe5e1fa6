"""Everything that a broker decides, as plain synchronous code.

The map of this package, from the values to the whole:

* ``policy``: settings of destinations and limits of sessions.
* ``pattern``: wildcards.
* ``destination``: names and kinds.
* ``message``: one message and its octets for each version.
* ``storage``: what the broker needs of a store.
* ``outbox``: octets waiting to be written to one connection.
* ``subscription``: one SUBSCRIBE: credit, and what was delivered and is not yet settled.
* ``queue``, ``topic``: the two kinds of destination.
* ``virtualhost``: a name space of destinations.
* ``route``: where else a message goes, and ``routed``: what a SEND goes to then.
* ``course``: where one would go, for who asks.
* ``virtualtopic``: topics that are copied into the queues of their consumers.
* ``transaction``: what BEGIN opened.
* ``send``, ``subscribe``, ``settle``, ``transact``: what the client's commands do.
* ``redelivery``: what becomes of a message that was not acknowledged.
* ``session``: one connection's conversation; takes frames, has them carried out, answers them.
* ``broker``: the whole: sessions, virtual hosts, store, what is due.
* ``admin``: what is going on, as plain values.

No function here waits, does I/O, reads a clock or logs: time is an argument, octets are lists. So
there is no interleaving, no race and no lock, and every test is a call.
"""

"""Everything that a broker decides, as plain synchronous code.

The map of this package, from the values to the whole:

* ``policy``: settings of destinations and limits of sessions.
* ``pattern``: wildcards.
* ``destination``: names and kinds.
* ``dialect``, ``cron``: what headers ask for, whichever broker they were written for.
* ``selector``, ``predicate``: conditions on a message's headers, compiled to functions.
* ``message``: one message and its octets for each version.
* ``terms``: what is special about a message: priority, expiry, schedule, group.
* ``principal``: who somebody is; ``rights``: what he may do; ``access``: where that is asked.
* ``quota``: what users, addresses and virtual hosts may take; ``owed``: what waits of whom.
* ``storage``: what the broker needs of a store; ``definition``: what it keeps beside messages;
  ``definitions``: that as a document.
* ``outbox``: octets waiting to be written to one connection.
* ``subscription``: one SUBSCRIBE: credit, and what was delivered and is not yet settled.
* ``lane``: messages by place, and by time; ``alarm``: the one timer of a destination.
* ``assignment``: who of a queue's subscribers gets what, where that is more than the next in line.
* ``tail``, ``delayed``: what is in the store only, of what waits and of what is not due yet.
* ``part``: what those and others have in common: a part of a destination knows it weakly.
* ``takeover``, ``sweep``: what comes into a tail from memory, and what expires in it.
* ``timetable``, ``overflow``: what time does to a queue's messages, and what a full queue does.
* ``dedup``: the ids that a destination has seen.
* ``queue``, ``topic``: the two kinds of destination.
* ``durable``: what keeps a topic's messages for who is away.
* ``deadletter``: what becomes of messages that no consumer may have any more.
* ``virtualhost``: a name space of destinations; ``asked``: what clients want of its queues.
* ``feeds``, ``lasting``: what fills queues from its topics, and its durable subscriptions.
* ``route``: where else a message goes, and ``routed``: what a SEND goes to then.
* ``course``: where a message would go, for who asks.
* ``virtualtopic``: topics that are copied into the queues of their consumers.
* ``transaction``: what BEGIN opened.
* ``send``, ``subscribe``, ``settle``, ``transact``: what the client's commands do.
* ``redelivery``: what becomes of a message that was not acknowledged.
* ``session``: one connection's conversation; takes frames, has them carried out, answers them.
* ``broker``: the whole: sessions, virtual hosts, store, what is due.
* ``restore``: what a store has kept becomes what it was; ``room``: when it has none.
* ``memory``: the mark for what all messages take; over it producers wait.
* ``event``, ``tap``: what the broker tells about itself, and copies of the frames that pass.
* ``sample``: rates and ages, from a look a second; ``bygone``: counts of what is gone.
* ``walk``: going over all messages of a queue, page by page.
* ``admin``: requests: what is going on, and what an administrator does about it.

No function here waits, does I/O, reads a clock or logs: time is an argument, octets are lists. So
there is no interleaving, no race and no lock, and every test is a call.
"""

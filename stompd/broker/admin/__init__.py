"""Looking at a broker and acting on it: what people, consoles and scripts ask of it.

* ``request``: who asks, what is refused, and what was done.
* ``schema``: the forms of requests and replies.
* ``rows``: what there is, as plain values.
* ``messages``: looking at the messages of a queue, and choosing some of them.
* ``moving``: what is done with the messages of a queue; ``acts``: what else changes something.
* ``errand``: requests that are answered later.
* ``explain``: why nothing is delivered.
* ``verbs``: the table of all that can be asked, and carrying it out.
* ``door``: requests that come over STOMP.
"""

from stompd.broker.admin.rows import (
    connections,
    queues,
    status,
    subscriptions,
    topics,
    transactions,
)

__all__ = ["connections", "queues", "status", "subscriptions", "topics", "transactions"]

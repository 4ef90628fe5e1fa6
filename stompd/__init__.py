"""stompd: a STOMP 1.2, 1.1 and 1.0 message broker.

The map of the package; imports run upwards in this list only (a layer knows those above it):

``stompd.protocol``
    Octets to frames and back, legality tables, heart-beat arithmetic. No I/O.
``stompd.broker``
    Everything a broker decides: queues, topics, subscriptions, transactions. Plain synchronous
    code; time is an argument, and what is to be written is handed out as bytes.
``stompd.store``
    Keeps what the broker asks it to keep.
``stompd.server``
    Sockets, tasks, the clock, signals, configuration and the log: the ``stompd`` program.
``stompd.testing``
    A broker in the process of a test, for those who test programs that speak STOMP.
"""

__version__ = "0.1.0"

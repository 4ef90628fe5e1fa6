"""stompcli: what users of a STOMP broker need.

``stompcli.client``
    The client library on trio. It works with any STOMP broker and needs no terminal.
``stompcli.main``
    The ``stomp`` program (also installed as ``stompcli``): one-shot commands and the interactive
    prompt, made from one table of commands.

Of ``stompd`` only the protocol layer is used, never the broker.
"""

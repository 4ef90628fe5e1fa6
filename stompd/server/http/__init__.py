"""The HTTP port: hypercorn's HTTP, starlette's routes, and what is behind them.

* ``port``: the listening sockets and the connections, with their bounds and their end.
* ``stream``: what hypercorn reads from and writes to; it can be cut.
* ``app``: the table of paths, and what every answer has in common.
* ``guard``: which pages of which names may use it from a browser.
* ``visitor``: who a request comes from, and what he may do.
* ``api``: the admin verbs; ``openapi``: their description for programs.
* ``metrics``: for Prometheus; ``health``: for who restarts stompd or sends it work.
* ``files``: the console, whose files are in ``console/``.
* ``websocket``: STOMP over WebSocket; ``pieces``: octets of the broker cut into frames.
"""

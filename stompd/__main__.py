"""``python -m stompd``: the same program as the console script ``stompd``."""

from stompd.server.main import main

main()

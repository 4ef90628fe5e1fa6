"""``python -m stompcli``: the same program as the console scripts ``stomp`` and ``stompcli``."""

from stompcli.main import main

main()

"""Start stompd with the log-ins of the conformance suite: ``-c FILE --listen … --ready-fd N``.

Everything but the authenticator is what ``python -m stompd`` does with the same flags.
"""

import os
import sys
from functools import partial
from pathlib import Path

import click
import trio

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "spec-tests")]

from conformance.brokers import USERS  # noqa: E402  # found by the path above
from stompd.broker.session import Login  # noqa: E402
from stompd.server.auth import LoginRefusedError  # noqa: E402
from stompd.server.run import serve  # noqa: E402
from stompd.server.sources import read  # noqa: E402


class Listed:
    """Lets in whom ``USERS`` lists."""

    async def authenticate(self, login: Login, peer: str) -> str | None:  # noqa: ARG002
        """The user's name; raises `LoginRefusedError`."""
        if login.user is None or USERS.get(login.user) != login.passcode:
            raise LoginRefusedError("login refused")
        return login.user


@click.command()
@click.option("-c", "file", type=click.Path(path_type=Path), required=True)
@click.option("--memory", is_flag=True)
@click.option("--listen", required=True)
@click.option("--ready-fd", type=int, required=True)
def main(*, file: Path, memory: bool, listen: str, ready_fd: int) -> None:
    """Serve until a signal comes."""
    del memory
    settings = read(file, {}, [("--listen", "listen", [listen])]).settings

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            started = await nursery.start(partial(serve, settings, authenticator=Listed()))
            with os.fdopen(ready_fd, "w") as waiting:
                waiting.write(f"ready 127.0.0.1:{started.ports[0]}\n")

    trio.run(run)


if __name__ == "__main__":
    main()

"""Ask a service and wait for its answer; several questions may be in flight at once."""

import sys

import trio

from stompcli.client import Client, connect


async def ask(client: Client, question: str) -> None:
    """Ask, and print the answer to just this question."""
    answer = await client.request("/queue/shout", question, timeout=30)
    print(f"{question} -> {answer.text}")


async def main(host: str, port: str) -> None:
    """Ask three times at once, and then tell the service to stop."""
    async with connect(f"stomp://{host}:{port}") as client:
        async with trio.open_nursery() as nursery:
            for question in ("hello", "who is there", "good bye"):
                nursery.start_soon(ask, client, question)
        await ask(client, "stop")


trio.run(main, *(sys.argv[1:] or ("localhost", "61613")))

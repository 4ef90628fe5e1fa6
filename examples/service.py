"""Answer requests, several at a time: each answer goes where its request says."""

import sys

import trio

from stompcli.client import Message, connect


async def main(host: str, port: str) -> None:
    """Shout back whatever is asked, until asked to stop."""
    async with connect(f"stomp://{host}:{port}") as client:

        async def answer(request: Message) -> None:
            await client.reply(request, request.text.upper())
            if request.text == "stop":
                service.stop()

        async with client.consume("/queue/shout", answer, concurrency=10) as service:
            print("ready", flush=True)
            await service.wait_stopped()


trio.run(main, *(sys.argv[1:] or ("localhost", "61613")))

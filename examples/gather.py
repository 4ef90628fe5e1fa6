"""Ask everybody who listens, and gather the answers that come within a second."""

import sys

import trio

from stompcli.client import Message, connect


async def stand_by(url: str, name: str, *, task_status: trio.TaskStatus[None]) -> None:
    """Answer with a name whenever somebody asks who is there."""
    async with connect(url) as client:

        async def answer(question: Message) -> None:
            await client.reply(question, name)

        async with client.consume("/topic/who-is-there", answer, ack="auto"):
            task_status.started()
            await trio.sleep_forever()


async def main(host: str, port: str) -> None:
    """Let three stand by, and ask for them."""
    url = f"stomp://{host}:{port}"
    async with trio.open_nursery() as nursery, connect(url) as client:
        for name in ("ann", "bob", "cleo"):
            await nursery.start(stand_by, url, name)
        async with client.request_many("/topic/who-is-there", replies=3, timeout=30) as replies:
            names = [reply.text async for reply in replies]
        print("there are", ", ".join(sorted(names)))
        nursery.cancel_scope.cancel()


trio.run(main, *(sys.argv[1:] or ("localhost", "61613")))

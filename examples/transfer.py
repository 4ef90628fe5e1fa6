"""Move a message from one queue to another in a transaction: it is never lost and never twice."""

import sys

import trio

from stompcli.client import connect


async def main(host: str, port: str) -> None:
    """Take one incoming message, and pass its answer on, both or neither."""
    async with connect(f"stomp://{host}:{port}") as client:
        await client.send("/queue/incoming", "42", receipt=True)
        async with client.subscribe("/queue/incoming", ack="client-individual") as messages:
            message = await messages.receive()
            undone = await client.begin()
            await undone.send("/queue/outgoing", "half an answer")
            await undone.ack(message)
            await undone.abort()
            print("aborted, so nothing has happened")
            async with client.transaction() as tx:
                await tx.send("/queue/outgoing", f"the answer is {message.text}")
                await tx.ack(message)  # the end of this block commits, an exception aborts
            print("committed")
        async with client.subscribe("/queue/outgoing") as messages:
            print("received", (await messages.receive()).text)


trio.run(main, *(sys.argv[1:] or ("localhost", "61613")))

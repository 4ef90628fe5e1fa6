"""Process messages: each is acknowledged once it was processed, and refused if that failed."""

import sys

import trio

from stompcli.client import Message, connect


def process(message: Message) -> None:
    """Do the work; whatever it raises refuses the message."""
    print("processing", message.text, "again" if message.redelivered else "")
    if message.text == "order 1" and not message.redelivered:
        raise ValueError("the printer is out of paper")


async def main(host: str, port: str) -> None:
    """Process orders until three of them were processed."""
    left = 3
    async with (
        connect(f"stomp://{host}:{port}") as client,
        client.subscribe("/queue/orders", ack="client-individual") as messages,
    ):
        async for message in messages:
            try:
                async with message:  # ACK at the end of this block, NACK if it raises
                    process(message)
            except ValueError as error:
                print("refused", message.text, "-", error)
            else:
                left -= 1
            if left == 0:
                break
    print("done")


trio.run(main, *(sys.argv[1:] or ("localhost", "61613")))

"""A pool of workers: four messages at a time, each customer's in order, and an orderly end."""

import sys

import trio

from stompcli.client import Message, RejectError, connect

ORDERS = [("ann", "1"), ("ann", "2"), ("bob", "1"), ("bob", "nonsense"), ("ann", "3")]


async def main(host: str, port: str) -> None:
    """Place orders, and process them until there are no more."""

    async def process(message: Message) -> None:
        customer, order = message.headers["message-group"], message.text
        if order == "nonsense":
            raise RejectError("nobody sells that", requeue=False)  # straight to the dead letters
        await trio.sleep(0.1)  # the work
        print(customer, order, flush=True)
        if order == "the last":
            workers.stop()  # finish what was begun, take nothing more

    async with connect(f"stomp://{host}:{port}") as client:
        for customer, order in [*ORDERS, ("ann", "the last")]:
            await client.send("/queue/jobs", order, message_group=customer)
        async with client.consume("/queue/jobs", process, concurrency=4, prefetch=20) as workers:
            await workers.wait_stopped()
        print(f"{workers.processed} processed, {workers.failed} refused")


trio.run(main, *(sys.argv[1:] or ("localhost", "61613")))

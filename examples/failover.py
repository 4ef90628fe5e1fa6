"""Send so that nothing is lost: two brokers, and what neither has confirmed is sent again."""

import sys
from itertools import count

import trio

from stompcli.client import connect


async def main(host: str, *ports: str) -> None:
    """Send numbers until ten of them went to another broker than the first."""
    brokers = [f"stomp://{host}:{port}" for port in ports]
    async with connect(brokers, reconnect=True) as client:
        first = client.address
        left = 10
        for number in count():
            await client.send("/queue/numbers", str(number))  # waits while there is no broker
            if number == 0:
                await client.flush()  # returns when the broker has confirmed all of them
                print("sending", flush=True)
            if client.address != first:
                left -= 1
                if left == 0:
                    break
            await trio.sleep(0.01)
        print("going on with another broker")
    print(len(client.unconfirmed), "unconfirmed,", client.counters.messages_repeated, "repeated")


trio.run(main, *(sys.argv[1:] or ("localhost", "61613", "61623")))

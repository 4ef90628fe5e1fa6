"""Send messages and wait until the broker has confirmed every one of them."""

import sys

import trio

from stompcli.client import connect


async def main(host: str, port: str) -> None:
    """Send three orders."""
    async with connect(f"stomp://{host}:{port}") as client:
        receipts = []
        for number in range(3):
            headers = {"persistent": "true", "priority": "4"}
            body = f"order {number}"
            receipts.append(await client.submit("/queue/orders", body, headers=headers))
        for receipt in receipts:
            await receipt.wait()
    print(f"sent and confirmed {len(receipts)} orders")


trio.run(main, *(sys.argv[1:] or ("localhost", "61613")))

"""Answer requests: the answer goes where the request says, with its correlation-id."""

import sys

import trio

from stompcli.client import connect


async def main(host: str, port: str) -> None:
    """Shout back whatever is asked, until asked to stop."""
    async with (
        connect(f"stomp://{host}:{port}") as client,
        client.subscribe("/queue/shout", ack="client-individual") as requests,
    ):
        print("ready", flush=True)
        async for request in requests:
            async with request:
                headers = {"correlation-id": request.headers["correlation-id"]}
                answer = request.text.upper()
                await client.send(request.headers["reply-to"], answer, headers=headers)
            if request.text == "stop":
                break


trio.run(main, *(sys.argv[1:] or ("localhost", "61613")))

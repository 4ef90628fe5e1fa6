"""Ask a service and wait for the answer, which comes to a queue of this connection alone."""

import sys

import trio

from stompcli.client import connect


async def main(host: str, port: str) -> None:
    """Ask twice."""
    async with (
        connect(f"stomp://{host}:{port}") as client,
        client.subscribe("/temp-queue/answers") as answers,
    ):
        for number, question in enumerate(("hello", "stop")):
            headers = {"reply-to": "/temp-queue/answers", "correlation-id": str(number)}
            await client.send("/queue/shout", question, headers=headers)
            with trio.fail_after(30):
                answer = await answers.receive()
            print(f"{question} -> {answer.text} (request {answer.headers['correlation-id']})")


trio.run(main, *(sys.argv[1:] or ("localhost", "61613")))

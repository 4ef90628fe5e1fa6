"""Test an asyncio program, here with stompman: what waits is called in a thread beside it."""

import asyncio

import stompman

from stompd.testing import ThreadBroker


async def shout(host: str, port: int) -> None:
    """Answer one message in capitals: the program under test."""
    done = asyncio.Event()
    server = stompman.ConnectionParameters(host, port, login="shout", passcode="secret")
    async with stompman.Client([server]) as client:

        async def answer(frame: stompman.MessageFrame) -> None:
            await client.send(frame.body.upper(), "/queue/loud")
            done.set()

        subscription = await client.subscribe("/queue/quiet", answer, on_suppressed_exception=print)
        await done.wait()
        await subscription.unsubscribe()


def test_it_shouts(stompd_broker: ThreadBroker) -> None:
    """The test's own coroutine runs beside the program, and blocks only a thread."""

    async def main() -> None:
        program = asyncio.create_task(shout(stompd_broker.host, stompd_broker.port))
        await asyncio.to_thread(stompd_broker.wait_for_subscriber, "/queue/quiet")
        stompd_broker.put("/queue/quiet", "hello")
        await asyncio.to_thread(stompd_broker.expect, "/queue/loud", body="HELLO")
        await program

    asyncio.run(main())
    stompd_broker.assert_empty("/queue/quiet")

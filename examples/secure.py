"""Talk to a broker under TLS, whose certificate is signed by an authority of one's own."""

import sys

import trio

from stompcli.client import ConnectError, connect


async def main(host: str, port: str, ca_file: str) -> None:
    """Say hello to the broker, if it is the one that we mean."""
    try:
        async with connect(f"stomp+ssl://{host}:{port}", ca_file=ca_file) as client:
            await client.send("/queue/test", "hello", receipt=True)
            print("the broker is who it says it is")
    except ConnectError as error:
        print(error)


trio.run(main, *(sys.argv[1:] or ("localhost", "61614", "ca.pem")))

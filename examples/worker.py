"""A whole worker in one call: retries with back-off, dead letters, and an end when all is done."""

import sys

from stompcli import worker
from stompcli.client import Message


def resize(message: Message) -> None:
    """Do the work, in a thread; whatever this raises is tried again, three times in all."""
    name = message.text
    if name == "cat.gif" and not message.redelivered:
        raise OSError("no room left")  # tried again
    if name == "notes.txt":
        raise worker.RejectError("no picture", requeue=False)  # a dead letter at once
    print("resized", name)


def show(event: worker.Event) -> None:
    """Say what became of each message."""
    if event.job is not None and event.outcome is not None:
        name = event.job.message.text
        print(f"{name}: {event.kind} {event.outcome.detail}".rstrip())


def main(host: str, port: str) -> None:
    """Work until both queues are empty; Ctrl-C finishes what runs, and leaves."""
    done = worker.run(
        f"stomp://{host}:{port}",
        ["/queue/thumbs.now", "/queue/thumbs.later"],
        resize,
        tell=show,
        burst=True,
        retries=3,
        retry_delay=0,
    )
    print(done.summary())


main(*(sys.argv[1:] or ("localhost", "61613")))

"""Admin requests of a test's client; every reply is held against its schema."""

import json
from typing import Any

from broker.client import Client, Core
from broker.paging import PagedCore
from jsonschema import Draft202012Validator

from stompd.broker.admin.verbs import ERROR, VERBS

REPLIES = "/temp-queue/replies"


class Asker:
    """A client that asks: ``asker("queues")`` is the result, `refused` the code of a refusal."""

    def __init__(self, core: Core, *, trusted: bool = True, client: Client | None = None) -> None:
        core.broker.observe()
        self.client: Client = client or (core.administrator() if trusted else core.client())
        self._asked = 0
        # The notes of progress before the last reply.
        self.notes: list[dict[str, int]] = []

    def reply(self, verb: str, body: bytes = b"") -> dict[str, Any]:
        """Return the whole reply to a request with this body."""
        self._asked += 1
        number = str(self._asked)
        self.client(
            "SEND", body, destination=f"/admin/{verb}", reply_to=REPLIES, correlation_id=number
        )
        self.notes = []
        while True:
            reply = self._answer(verb, number)
            if "progress" not in reply:
                return reply
            self.notes.append(reply["progress"])

    def _answer(self, verb: str, number: str) -> dict[str, Any]:
        """Return what is answered next; the store does what it is waited for."""
        core = self.client.core
        while not self.client.frames:
            assert isinstance(core, PagedCore), "no answer"
            assert core.answer() or core.durable(), "no answer"
        message = self.client.frames.pop(0)
        assert message.command == "MESSAGE", message
        assert message["correlation-id"] == number
        assert message["content-type"] == "application/json"
        reply = json.loads(message.body)
        schema = VERBS[verb].reply_schema() if verb in VERBS else ERROR
        Draft202012Validator(schema).validate(reply)
        return dict(reply)

    def __call__(self, verb: str, **fields: object) -> Any:  # noqa: ANN401 - JSON
        """Return the result of a verb; it must not be refused."""
        Draft202012Validator(VERBS[verb].request_schema()).validate(fields)
        reply = self.reply(verb, json.dumps(fields).encode())
        assert reply["ok"], reply
        return reply["result"]

    def refused(self, verb: str, **fields: object) -> tuple[str, str]:
        """Return code and sentence of a refusal."""
        error = self.reply(verb, json.dumps(fields).encode())["error"]
        return error["code"], error["message"]

    def bodies(self, queue: str, **fields: object) -> list[str]:
        """Return the bodies of a queue's messages as `browse` tells them."""
        return [row["body"] for row in self("browse", destination=queue, **fields)["messages"]]


def done(count: int, failed: int = 0, *reasons: str) -> dict[str, Any]:
    """Return what an acting verb answers."""
    return {"done": count, "failed": failed, "reasons": list(reasons)}

"""A broker that answers admin requests from a table: what the commands ask for, and what for."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from stompcli.client.testing import ClientFrame, ScriptedBroker, ScriptError

Answer = Callable[[dict[str, Any]], object]
# What happens at a SUBSCRIBE, beside its receipt.
OnSubscribe = Callable[[ScriptedBroker, ClientFrame], Any]


class Refusal(Exception):  # noqa: N818 - an answer, not an error of the test
    """The answer ``{"ok":false}`` with a code and a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.error = {"code": code, "message": message}


@dataclass
class AdminBroker:
    """A broker at ``port`` of 127.0.0.1.

    ``answers`` holds the result of each verb, or what makes it of the request, raising `Refusal`;
    a verb without one gets no answer at all. ``asked`` are the requests that came, ``frames`` all
    other frames but those that every session has.
    """

    port: int = 0
    server: str = "stompd/1.2.3"
    session: str = ""
    answers: dict[str, object] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    frames: list[ClientFrame] = field(default_factory=list)
    # What is told of how far a request is, before its answer, to who wants to know.
    notes: list[dict[str, Any]] = field(default_factory=list)
    on_subscribe: OnSubscribe | None = None

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end."""
        broker = ScriptedBroker(stream)
        await broker.accept(headers={"server": self.server, "session": self.session})
        answers: ClientFrame | None = None
        while True:
            try:
                frame = await broker.next()
            except ScriptError:
                # The program was killed, or cut off.
                return
            if "receipt" in frame.headers and frame.command != "SUBSCRIBE":
                await broker.receipt(frame)
            if frame.command == "DISCONNECT":
                await stream.aclose()
                return
            destination = frame.headers.get("destination", "")
            if frame.command == "SUBSCRIBE":
                await broker.receipt(frame)
                if destination.startswith("/temp-queue/"):
                    answers = frame
                    continue
                if self.on_subscribe is not None:
                    await self.on_subscribe(broker, frame)
            if frame.command == "SEND" and destination.startswith("/admin/"):
                await self._answer(broker, answers, frame, destination.removeprefix("/admin/"))
            elif frame.command != "UNSUBSCRIBE":
                self.frames.append(frame)

    async def _answer(
        self, broker: ScriptedBroker, answers: ClientFrame | None, frame: ClientFrame, verb: str
    ) -> None:
        assert frame.headers["content-type"] == "application/json"
        assert answers is not None
        assert frame.headers["reply-to"] == answers.headers["destination"]
        request = json.loads(frame.body)
        if request.pop("progress", False):
            for note in self.notes:
                await broker.message(
                    answers,
                    json.dumps({"ok": True, "progress": note}).encode(),
                    correlation_id=frame.headers["correlation-id"],
                )
        self.asked.append((verb, request))
        if verb not in self.answers:
            return
        answer = self.answers[verb]
        if isinstance(answer, bytes):
            body = answer
        else:
            try:
                result = answer(request) if callable(answer) else answer
                body = json.dumps({"ok": True, "result": result}).encode()
            except Refusal as refusal:
                body = json.dumps({"ok": False, "error": refusal.error}).encode()
        # An answer to somebody else's question is passed over.
        await broker.message(answers, b"{}", correlation_id="another")
        await broker.message(
            answers,
            body,
            correlation_id=frame.headers["correlation-id"],
            content_type="application/json",
        )


@contextmanager
def running_admin_broker(**settings: Any) -> Iterator[AdminBroker]:  # noqa: ANN401 - its fields
    """Run such a broker in a thread, so that the program can run in this one."""
    broker = AdminBroker(**settings)
    ready = threading.Event()
    failures: list[BaseException] = []
    stop: list[Callable[[], object]] = []

    async def main() -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        broker.port = int(listener.socket.getsockname()[1])
        token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as scope:
            stop.append(lambda: token.run_sync_soon(scope.cancel))
            ready.set()
            await trio.serve_listeners(broker.serve, [listener])

    def run() -> None:
        try:
            trio.run(main)
        except BaseException as error:  # noqa: BLE001 - raised again in the test
            failures.append(error)
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        yield broker
    finally:
        for one in stop:
            if thread.is_alive():
                one()
        thread.join()
    for failure in failures:
        raise failure

"""The sending half of a client: messages, requests and replies."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Unpack

from stompcli.client.dialect import Pairs, SendOptions
from stompcli.client.errors import TimedOutError, UsageError
from stompcli.client.frames import extra_headers, merged, send_frame
from stompcli.client.receipt import Receipt
from stompcli.client.request import Replies
from stompcli.client.request import check as check_request
from stompcli.client.session import Session
from stompcli.client.subscription import Message
from stompcli.client.transaction import Transaction
from stompcli.client.window import Unconfirmed


class Sender(Session):
    """What a `Client` does to send, and to ask."""

    async def send(
        self,
        destination: str,
        body: bytes | str = b"",
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content_type: str | None = None,
        encoding: str | None = None,
        receipt: bool | None = None,
        transaction: Transaction | str | None = None,
        content_length: bool = True,
        **options: Unpack[SendOptions],
    ) -> None:
        """Send a message.

        Text is sent in UTF-8 as ``text/plain`` unless ``encoding`` or ``content_type`` say
        otherwise (CT-05, CT-08). With ``receipt`` waits until the broker has confirmed it. With
        False, returns as soon as the frame is in line to be written, which is delayed while too
        much is. None does what the session's ``confirm`` says; with "window" it waits for room
        among the unconfirmed, and a message that the broker refuses ends the session.
        In a transaction it is COMMIT that confirms the message.
        ``content_length=False`` is for brokers that tell text from octets by that header.
        ``options`` are `SendOptions`, spelt as the broker wants them.
        Raises `UsageError` for what cannot be sent, and what `Receipt.wait` raises.
        """
        frame = send_frame(
            destination,
            body,
            self._send_headers(destination, headers, options),
            content_type,
            encoding,
            transaction,
            content_length,
        )
        how = self._confirm if receipt is None else "await" if receipt else "none"
        if transaction is not None:
            check = self._check_of(transaction)
            if receipt:
                await (await self._ask("SEND", *frame, check=check)).wait()
            else:
                await self._put("SEND", *frame, check=check)
        elif how == "none":
            await self._put("SEND", *frame)
        else:
            confirmation = await self._submit(*frame, expected=how == "await")
            if how == "await":
                await confirmation.wait()
        self.counters.messages_sent += 1

    async def submit(
        self,
        destination: str,
        body: bytes | str = b"",
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content_type: str | None = None,
        encoding: str | None = None,
        transaction: Transaction | str | None = None,
        content_length: bool = True,
        **options: Unpack[SendOptions],
    ) -> Receipt:
        """Send a message and return its receipt, to be waited for later.

        For many messages in flight at once. Arguments and errors are those of `send`.
        """
        frame = send_frame(
            destination,
            body,
            self._send_headers(destination, headers, options),
            content_type,
            encoding,
            transaction,
            content_length,
        )
        if transaction is not None:
            receipt = await self._ask("SEND", *frame, check=self._check_of(transaction))
        else:
            receipt = await self._submit(*frame, expected=True)
        self.counters.messages_sent += 1
        return receipt

    async def flush(self) -> None:
        """Wait until the broker has confirmed everything that was sent so far.

        Without a window (see ``confirm``) nothing is known to be unconfirmed, and this returns.
        Raises what `Receipt.wait` raises; then `unconfirmed` has what is left.
        """
        for entry in self.unconfirmed:
            await entry.receipt.wait()

    def _send_headers(
        self,
        destination: str,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None,
        options: SendOptions,
    ) -> Mapping[str, str] | Iterable[tuple[str, str]] | None:
        """Return a program's headers with those of its options and of the tracing hook."""
        inject = self._settings.inject
        if not options and inject is None:
            return headers
        pairs = merged(headers, self.dialect.send_headers(options))
        if inject is not None:
            pairs += extra_headers(inject(destination, dict(pairs)))
        return pairs

    async def _submit(
        self, pairs: list[tuple[str, str]], body: bytes, *, expected: bool
    ) -> Receipt:
        """Send a message that is kept until it is confirmed, once there is room for it."""
        window = self._window
        if window is None:
            return await self._ask("SEND", pairs, body)
        connection = await self._wait_for_room()
        while not window.has_room():
            if not await self.wait_for_answer(self._may_submit, window.room):
                raise TimedOutError(
                    f"no RECEIPT for {len(window)} SENDs within {self.receipt_timeout:g} s, "
                    "so there is no room for another one"
                )
            connection = await self._wait_for_room()
        if self._dedup:
            pairs = self._with_dedup_id(pairs)
        receipt = self._ask_nowait(connection, "SEND", pairs, body, fate="again")
        window.add(Unconfirmed(receipt, pairs, body, expected=expected))
        return receipt

    def _may_submit(self) -> bool:
        """Return whether there is room in the window, or no use in waiting for it."""
        return self._ended.is_set() or self._window is None or self._window.has_room()

    def _with_dedup_id(self, pairs: Pairs) -> Pairs:
        self._dedup_count += 1
        made = self.dialect.send_headers({"dedup_id": f"{self._dedup}-{self._dedup_count}"})
        given = {name for name, _ in pairs}
        return pairs if made[0][0] in given else [*pairs, *made]

    # Requests and replies.

    async def request(
        self,
        destination: str,
        body: bytes | str = b"",
        *,
        timeout: float | None = 30.0,  # noqa: ASYNC109 - the reply is the broker's peer's
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content_type: str | None = None,
        encoding: str | None = None,
        resend: bool = False,
        **options: Unpack[SendOptions],
    ) -> Message:
        """Send a request and return the reply to it.

        The reply comes to a temporary queue of this client, which the request names in
        ``reply-to``, and is known by the ``correlation-id``; any number may be in flight. What
        comes after ``timeout`` seconds (None: any time) is dropped. Body, headers and options are
        those of `send`. If the connection breaks meanwhile, the reply is lost with it: with
        ``resend`` the request is sent again, marked, and else this raises `ConnectionLostError`.
        Raises `TimedOutError`, `UsageError` for what cannot be sent, and `BrokerError` if the
        broker refuses the request.
        """
        check_request(headers)
        pairs = merged(headers, self.dialect.send_headers(options))
        return await self._requests.one(
            destination,
            body,
            pairs,
            kinds=(content_type, encoding),
            seconds=timeout,
            resend=resend,
        )

    @asynccontextmanager
    async def request_many(
        self,
        destination: str,
        body: bytes | str = b"",
        *,
        replies: int | None = None,
        timeout: float | None = 30.0,  # noqa: ASYNC109 - as in request
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content_type: str | None = None,
        encoding: str | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncIterator[Replies]:
        """Send a request that several may answer, and iterate over the replies inside the block.

        Iteration ends after so many ``replies``, or for None when ``timeout`` seconds have passed
        since the request was made; with fewer replies than wished it raises `TimedOutError`. What
        comes after the block is dropped. Otherwise like `request`.
        """
        check_request(headers)
        pairs = merged(headers, self.dialect.send_headers(options))
        async with self._requests.many(
            destination,
            body,
            pairs,
            kinds=(content_type, encoding),
            seconds=timeout,
            count=replies,
        ) as found:
            yield found

    async def reply(
        self,
        request: Message,
        body: bytes | str = b"",
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content_type: str | None = None,
        encoding: str | None = None,
        receipt: bool | None = None,
        transaction: Transaction | str | None = None,
        **options: Unpack[SendOptions],
    ) -> None:
        """Answer a request: send where its ``reply-to`` says, with its ``correlation-id``.

        Raises `UsageError` for a message that wants no reply, and what `send` raises.
        """
        destination = request.headers.get("reply-to")
        if not destination:
            raise UsageError(f"message {request.id} has no reply-to: it wants no reply")
        pairs = extra_headers(headers)
        id_ = request.headers.get("correlation-id")
        if id_ is not None:
            pairs.append(("correlation-id", id_))
        await self.send(
            destination,
            body,
            headers=pairs,
            content_type=content_type,
            encoding=encoding,
            receipt=receipt,
            transaction=transaction,
            **options,
        )

    async def send_request(
        self,
        destination: str,
        body: bytes | str,
        headers: Pairs,
        kinds: tuple[str | None, str | None],
    ) -> Receipt:
        """Send a request once; for `Requests` only."""
        made = self._send_headers(destination, headers, {})
        receipt = await self._ask("SEND", *send_frame(destination, body, made, *kinds))
        self.counters.messages_sent += 1
        return receipt

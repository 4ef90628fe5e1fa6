"""Temporary destinations and replies, as docs/semantics.md promises them."""

from docs.semantics.daemon import Open, fresh


def test_a_reply_comes_back_to_who_asked(connect: Open) -> None:
    """reply-to becomes a public name, the sender is subscribed, and the answer arrives."""
    asking, answering = connect(), connect()
    queue = fresh()
    answering.subscribe("1", queue)
    assert asking.connected is not None
    public = f"/remote-temp-queue/{asking.connected.text('session')}/answers"
    lines = ("reply-to:/temp-queue/answers", "correlation-id:7")
    asking.put(queue, b"question", *lines)
    answering.expect("MESSAGE", f"reply-to:{public}", "correlation-id:7", body=b"question")
    answering.put(public, b"answer", "correlation-id:7")
    asking.expect(
        "MESSAGE",
        f"destination:{public}",
        "subscription:/temp-queue/answers",
        "correlation-id:7",
        body=b"answer",
    )
    asking.frame_out("UNSUBSCRIBE", "id:/temp-queue/answers", "receipt:u")
    asking.expect("RECEIPT", "receipt-id:u")
    asking.frame_out("DISCONNECT")
    asking.eos()
    answering.put(public, b"too late")


def test_a_temporary_destination_is_private(connect: Open) -> None:
    """The same name means another queue in another connection, and nobody else may subscribe."""
    mine, theirs = connect(), connect()
    for wire in (mine, theirs):
        wire.subscribe("1", "/temp-queue/private")
    mine.put("/temp-queue/private", b"mine")
    mine.expect("MESSAGE", body=b"mine")
    theirs.quiet()
    assert mine.connected is not None
    session = mine.connected.text("session")
    for name, refusal in {
        f"/remote-temp-queue/{session}/private": "SUBSCRIBE to somebody's temporary destination",
        "/remote-temp-queue/#": "malformed destination name",
        "/temp-queue/*": "malformed destination name",
    }.items():
        wire = connect()
        wire.frame_out("SUBSCRIBE", "id:1", f"destination:{name}")
        wire.fatal(f"message:{refusal}")

"""Which frame needs what in which version, and how a version is agreed on."""

import pytest

from stompd.protocol import rules
from stompd.protocol.errors import RemoteProtocolError
from stompd.protocol.frame import CLIENT_COMMANDS, SERVER_COMMANDS, VERSIONS, Head

CASES = [
    (command, version, name)
    for command, needed in rules.REQUIRED.items()
    for version in VERSIONS
    for name in needed[version]
]


def test_the_tables_speak_of_every_command_and_version() -> None:
    """No command of either side is forgotten."""
    assert set(rules.REQUIRED) == CLIENT_COMMANDS
    assert set(rules.REQUIRED_OF_SERVER) == SERVER_COMMANDS
    for table in (*rules.REQUIRED.values(), *rules.REQUIRED_OF_SERVER.values(), rules.ABSENT):
        assert set(table) == set(VERSIONS)


@pytest.mark.clause(
    "FH-03", "FH-04", "FH-05", "FH-06", "FH-07", "V11-05", "V11-17", "V11-18", "V10-13"
)
@pytest.mark.parametrize(
    ("command", "version", "names"),
    [
        ("SEND", "1.2", ("destination",)),
        ("SUBSCRIBE", "1.2", ("destination", "id")),
        ("SUBSCRIBE", "1.1", ("destination", "id")),
        ("SUBSCRIBE", "1.0", ("destination",)),
        ("UNSUBSCRIBE", "1.2", ("id",)),
        ("ACK", "1.2", ("id",)),
        ("NACK", "1.2", ("id",)),
        ("ACK", "1.1", ("message-id", "subscription")),
        ("NACK", "1.1", ("message-id", "subscription")),
        ("ACK", "1.0", ("message-id",)),
        ("BEGIN", "1.0", ("transaction",)),
        ("COMMIT", "1.1", ("transaction",)),
        ("ABORT", "1.2", ("transaction",)),
    ],
)
def test_the_required_headers_are_those_of_the_specification(
    command: str, version: str, names: tuple[str, ...]
) -> None:
    """Each version has its own list."""
    assert rules.REQUIRED[command][version] == names


@pytest.mark.clause("FH-01", "FH-03", "FH-04", "FH-05", "FH-06", "FH-07", "S-01", "HDR-05")
@pytest.mark.parametrize(("command", "version", "name"), CASES)
def test_a_missing_required_header_is_named(command: str, version: str, name: str) -> None:
    """With all of them the frame is allowed; without one the error tells which."""
    headers = dict.fromkeys(rules.REQUIRED[command][version], "v")
    if command not in rules.ABSENT[version]:
        rules.check(Head.of(command, headers), b"", version)
    del headers[name]
    with pytest.raises(RemoteProtocolError) as caught:
        rules.check(Head.of(command, headers), b"", version)
    assert caught.value.message == f"{command} without {name}"
    assert f"STOMP {version} needs {name}" in caught.value.detail


@pytest.mark.clause("FH-08", "F-04", "V10-12")
@pytest.mark.parametrize(
    ("command", "version"),
    [("DISCONNECT", "1.2"), ("DISCONNECT", "1.0"), ("CONNECT", "1.0"), ("UNSUBSCRIBE", "1.0")],
)
def test_a_frame_may_need_nothing(command: str, version: str) -> None:
    """No header at all is enough for some."""
    rules.check(Head.of(command, {}), b"", version)


@pytest.mark.clause("F-09")
def test_a_header_of_another_case_is_pointed_out() -> None:
    """Names are exact, and the error says which one was probably meant."""
    with pytest.raises(RemoteProtocolError) as caught:
        rules.check(Head.of("SEND", {"Destination ": "/queue/a"}), b"", "1.2")
    assert caught.value.detail == (
        "STOMP 1.2 needs destination in every SEND; "
        'found "Destination ", but header names are exact'
    )


@pytest.mark.clause("ACK-11")
def test_an_ack_as_in_1_1_is_told_what_1_2_wants() -> None:
    """message-id was the name before; the hint is given only where it helps."""
    hint = ": the value of the MESSAGE's ack header"
    for command in ("ACK", "NACK"):
        with pytest.raises(RemoteProtocolError) as caught:
            rules.check(Head.of(command, {"message-id": "m"}), b"", "1.2")
        assert caught.value.detail.endswith(hint)
    with pytest.raises(RemoteProtocolError) as caught:
        rules.check(Head.of("ACK", {"message-id": "m"}), b"", "1.1")
    assert not caught.value.detail.endswith(hint)
    with pytest.raises(RemoteProtocolError) as caught:
        rules.check(Head.of("ACK", {}), b"", "1.2")
    assert not caught.value.detail.endswith(hint)


@pytest.mark.clause("V10-03")
def test_1_0_has_no_nack() -> None:
    """It came with 1.1, and the error says so."""
    head = Head.of("NACK", {"message-id": "m", "subscription": "0"})
    rules.check(head, b"", "1.1")
    with pytest.raises(RemoteProtocolError, match=r"NACK is not a command of STOMP 1\.0"):
        rules.check(head, b"", "1.0")


@pytest.mark.clause("BOD-03", "V10-10")
@pytest.mark.parametrize("version", VERSIONS)
def test_only_send_has_a_body(version: str) -> None:
    """Elsewhere line ends are ignored, and 1.0 ignores everything."""
    begin = Head.of("BEGIN", {"transaction": "t"})
    rules.check(Head.of("SEND", {"destination": "a"}), b"junk", version)
    rules.check(begin, b"\r\n\n", version)
    if version == "1.0":
        rules.check(begin, b"junk", version)
        return
    with pytest.raises(RemoteProtocolError) as caught:
        rules.check(begin, b"\njunk", version)
    assert caught.value.message == "BEGIN must not have a body"
    assert r'found "\njunk"' in caught.value.detail


@pytest.mark.clause("C-19", "C-20", "C-21")
@pytest.mark.parametrize(
    ("accept", "version"),
    [
        (None, "1.0"),
        ("1.2", "1.2"),
        ("1.0,1.1,1.2", "1.2"),
        ("1.2,1.1,1.0", "1.2"),
        (" 1.1 , 1.0 ", "1.1"),
        ("1.0,1.1,2.0", "1.1"),
        ("1.0", "1.0"),
        ("nonsense,,1.1", "1.1"),
    ],
)
def test_the_highest_common_version_is_taken(accept: str | None, version: str) -> None:
    """Any order, stray blanks and unknown words; none at all means 1.0."""
    assert rules.negotiate(accept) == version


@pytest.mark.clause("C-22", "V11-09")
@pytest.mark.parametrize("accept", ["2.1,9.9", "", "12", "1.2.0"])
def test_no_common_version_is_an_error_that_lists_ours(accept: str) -> None:
    """In a version header and in words."""
    with pytest.raises(RemoteProtocolError) as caught:
        rules.negotiate(accept)
    assert caught.value.headers == {"version": "1.0,1.1,1.2"}
    assert "1.0,1.1,1.2" in caught.value.detail


@pytest.mark.clause("V10-04", "ESC-09")
def test_connect_is_trimmed_for_1_0_alone() -> None:
    """Of a passcode only one leading blank goes, since the others may belong to it."""
    head = Head.of("CONNECT", {"login ": " u\t", "passcode": "  p ", "login": "second"})
    assert rules.connect_headers(head, "1.0") == {"login": "u", "passcode": " p "}
    for version in ("1.1", "1.2"):
        assert rules.connect_headers(head, version) == head.headers

"""TLS: sessions, certificates of both sides, reload, and who speaks something else."""

import hashlib
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trio
from server.authority import Files, connect
from server.edge import PATIENCE, Peer, serving, settings

from stompd.server.config import TlsSettings
from stompd.server.tls import (
    CertificateError,
    HandshakeError,
    PlainTextError,
    TlsSocket,
    make_context,
    shake_hands,
)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Return an authority for the test."""
    return Files(tmp_path)


async def test_a_session_is_the_same_over_tls(files: Files) -> None:
    """Log-in, SEND, SUBSCRIBE and leaving; beside it a session without TLS on the same queues."""
    async with serving(files.settings()) as edge:
        peer = await (await connect(edge, files.client())).login()
        await peer.put("/queue/a", b"one")
        assert await edge.take("/queue/a", 1) == [b"one"]
        await peer.subscribe("/queue/b")
        await (await edge.login()).put("/queue/b", b"two")
        assert (await peer.expect("MESSAGE")).body == b"two"
        await peer.write("DISCONNECT⏎receipt:bye⏎⏎^@")
        await peer.expect("RECEIPT", receipt_id="bye")
        assert await peer.rest() in (b"", b"\n")
        await peer.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_large_bodies_go_both_ways_through_small_buffers(
    files: Files, version: ssl.TLSVersion
) -> None:
    """Records that the network takes in part only are neither lost nor sent twice."""
    context = files.client()
    context.minimum_version = context.maximum_version = version
    body = os.urandom(3_000_000)
    async with serving(files.settings()) as edge:
        peer = await (await connect(edge, context, buffer=4096)).login()
        await peer.subscribe("/queue/a")
        head = f"SEND\ndestination:/queue/a\ncontent-length:{len(body)}\n\n".encode()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.write, (head + body + b"\0") * 3)
            for _ in range(3):
                frame = await peer.expect("MESSAGE")
                assert hashlib.sha256(frame.body).digest() == hashlib.sha256(body).digest()
        await peer.close()


async def test_what_comes_with_the_end_of_the_handshake_is_read(files: Files) -> None:
    """A client may send CONNECT together with its last words of the handshake."""
    async with serving(files.settings()) as edge:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = files.client().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with trio.fail_after(PATIENCE):
            stream = await trio.open_tcp_stream("127.0.0.1", edge.started.tls_ports[0])
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await stream.send_all(outgoing.read())
                    incoming.write(await stream.receive_some())
            tls.write(b"CONNECT\naccept-version:1.2\nhost:x\n\n\0")
            await stream.send_all(outgoing.read())
            answer = b""
            while b"\0" not in answer:
                try:
                    answer += tls.read()
                except ssl.SSLWantReadError:
                    incoming.write(await stream.receive_some())
            assert answer.startswith(b"CONNECTED\n")
        await stream.aclose()


async def test_frames_before_the_end_of_the_clients_direction_are_carried_out(
    files: Files,
) -> None:
    """A client that says all it has to say, and closes, has sent it (R-07)."""
    async with serving(files.settings()) as edge:
        peer = await connect(edge, files.client())
        await peer.write(
            "CONNECT⏎accept-version:1.2⏎host:x⏎⏎^@SEND⏎destination:/queue/a⏎⏎last words^@"
        )
        await peer.close()
        await edge.until(lambda: edge.depth("/queue/a") == 1)


async def test_an_error_arrives_before_the_end(files: Files) -> None:
    """The close after an ERROR is in good order: the client reads all of it, and a clean end."""
    async with serving(files.settings()) as edge:
        peer = await (await connect(edge, files.client())).login()
        await peer.write("JUMP⏎⏎^@" + "x" * 50_000)
        await peer.fatal("unknown command")
        await peer.close()


# -- Who speaks something else ---------------------------------------------------------------------


async def test_plain_stomp_on_the_tls_port_is_told_so(files: Files) -> None:
    """A person with telnet sees an ERROR that says what to do; the log says what happened."""
    async with serving(files.settings()) as edge:
        with trio.fail_after(PATIENCE):
            stream = await trio.open_tcp_stream("127.0.0.1", edge.started.tls_ports[0])
        peer = await Peer(stream).write("CONNECT⏎accept-version:1.2⏎host:x⏎⏎^@")
        frame = await peer.fatal("this port speaks TLS")
        assert b"--tls" in frame.body
        entry = await edge.log.first("no connection")
        assert entry["reason"] == "plain text on the TLS port"
        assert not edge.service.connections
        await peer.close()


@pytest.mark.parametrize("said", [b"\x00\x01\x02", b"\x16\x03\x01\x00\x05hello", b"\xff\xf4"])
async def test_noise_on_the_tls_port_ends_only_that_connection(files: Files, said: bytes) -> None:
    """Whatever is no handshake is closed, and the next client is served."""
    async with serving(files.settings()) as edge:
        with trio.fail_after(PATIENCE):
            stream = await trio.open_tcp_stream("127.0.0.1", edge.started.tls_ports[0])
            await stream.send_all(said)
            try:
                while await stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                # It was closed with octets unread, which is a reset.
                pass
        await edge.log.first("no connection")
        await stream.aclose()
        await (await (await connect(edge, files.client())).login()).close()


async def test_who_does_not_shake_hands_is_let_go(files: Files) -> None:
    """The time for the log-in is the time for the handshake, too."""
    given = settings(
        tls={"listen": ["127.0.0.1:0"], "certificate": str(files.certificate)},
        timeouts={"login": "50ms"},
    )
    async with serving(given) as edge:
        with trio.fail_after(PATIENCE):
            stream = await trio.open_tcp_stream("127.0.0.1", edge.started.tls_ports[0])
            assert await stream.receive_some() == b""
        assert "within 0.05 s" in (await edge.log.first("no connection"))["reason"]
        await stream.aclose()


async def test_no_more_handshakes_than_log_ins_at_once(files: Files) -> None:
    """A flood of clients that never finish is bounded; the one too many is closed at once."""
    given = settings(
        tls={"listen": ["127.0.0.1:0"], "certificate": str(files.certificate)},
        limits={"logins": 1},
    )
    async with serving(given) as edge:
        with trio.fail_after(PATIENCE):
            first = await trio.open_tcp_stream("127.0.0.1", edge.started.tls_ports[0])
            second = await trio.open_tcp_stream("127.0.0.1", edge.started.tls_ports[0])
            assert await second.receive_some() == b""
        await edge.log.first("connection refused")
        await first.aclose()
        await second.aclose()


# -- Certificates ----------------------------------------------------------------------------------


async def test_clients_need_a_certificate_where_that_is_required(files: Files) -> None:
    """Without one, and with one of another authority, there is no session; with one there is."""
    given = files.settings(client="required", client_ca=str(files.ca))
    (files.directory / "other").mkdir()
    stranger = Files(files.directory / "other").make("stranger")
    async with serving(given) as edge:
        for context in (files.client(), files.client(stranger)):
            peer = await connect(edge, context)
            with pytest.raises((trio.BrokenResourceError, ssl.SSLError)):
                # With TLS 1.3 a client learns of it when it reads.
                await peer.login()
            peer.stream.transport_stream.socket.close()  # type: ignore[attr-defined]
        peer = await (await connect(edge, files.client(files.make("alice")))).login()
        (connection,) = edge.service.connections.values()
        tls = connection._socket  # noqa: SLF001 - whom it belongs to is the matter
        assert isinstance(tls, TlsSocket)
        assert tls.certificate is not None
        subject = dict(pair for part in tls.certificate["subject"] for pair in part)
        assert subject["commonName"] == "alice"
        assert tls.version == "TLSv1.3"
        await peer.close()


async def test_a_certificate_is_a_log_in_for_whom_the_settings_name(files: Files) -> None:
    """It makes a user of who has it, with its groups; others still need a passcode."""
    given = settings(
        tls={
            "listen": ["127.0.0.1:0"],
            "certificate": str(files.certificate),
            "client": "optional",
            "client_ca": str(files.ca),
        },
        certificate=[{"subject": "CN=alice", "user": "{CN}", "groups": ["apps"]}],
        rights=[
            {"allow": ["connect"], "who": ["*"]},
            {"allow": ["all"], "who": ["@apps"], "on": ["/queue/#"]},
        ],
    )
    async with serving(given) as edge:
        peer = await (await connect(edge, files.client(files.make("alice")))).login()
        (connection,) = edge.service.connections.values()
        assert connection.session.principal.name == "alice"
        await peer.put("/queue/a")
        await peer.write("SEND⏎destination:/topic/a⏎⏎x^@")
        await peer.fatal("access refused")
        await peer.close()
        for context in (files.client(), files.client(files.make("bob"))):
            other = await connect(edge, context)
            await other.write("CONNECT⏎accept-version:1.2⏎host:x⏎⏎^@")
            await other.fatal("login refused")
            await other.close()


async def test_reload_takes_a_new_certificate_and_drops_nobody(files: Files) -> None:
    """New connections see the new one; an open session goes on. A bad one changes nothing."""
    given = files.settings()
    async with serving(given, reread=lambda: given) as edge:
        peer = await (await connect(edge, files.client())).login()
        before = peer.stream.getpeercert(binary_form=True)  # type: ignore[attr-defined]
        files.make("server")
        edge.service.reload(given, "stompd/test", None)
        fresh = await (await connect(edge, files.client())).login()
        assert fresh.stream.getpeercert(binary_form=True) != before  # type: ignore[attr-defined]
        await peer.sync()
        files.certificate.write_text("nothing")
        edge.service.reload(given, "stompd/test", None)
        assert edge.log.of("certificates not reloaded, the old ones stay")
        last = await (await connect(edge, files.client())).login()
        for one in (peer, fresh, last):
            await one.sync()
            await one.close()


def _tls(files: Files, **tls: object) -> TlsSettings:
    table: dict[str, Any] = {"certificate": str(files.certificate), **tls}
    return TlsSettings.model_validate(table, by_name=True)


def test_what_is_wrong_with_a_certificate_is_said(files: Files) -> None:
    """Each mistake has its sentence, with the file that it is in."""
    other = files.make("other")
    empty = files.directory / "empty.pem"
    empty.write_text("")
    cases = {
        "nothing.pem cannot be read: No such file": {"certificate": "/nowhere/nothing.pem"},
        "empty.pem: no certificate with its key": {"certificate": str(empty)},
        "does not belong to the certificate": {"key": str(other)},
        "empty.pem: no certificates": {"client": "required", "client_ca": str(empty)},
    }
    for sentence, table in cases.items():
        with pytest.raises(CertificateError, match=sentence):
            make_context(_tls(files, **table))
    with pytest.raises(CertificateError, match="certificate is missing"):
        make_context(TlsSettings())


def test_an_encrypted_key_is_refused_and_nobody_is_asked(files: Files) -> None:
    """OpenSSL would ask for a passphrase on the terminal of the daemon."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = files.directory / "key.pem"
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(CertificateError, match="without a passphrase"):
        make_context(_tls(files, key=str(key)))


def test_old_versions_are_refused_by_the_minimum(files: Files) -> None:
    """The context speaks nothing older than the settings say."""
    assert make_context(_tls(files)).minimum_version is ssl.TLSVersion.TLSv1_2
    strict = make_context(_tls(files, minimum="1.3"))
    assert strict.minimum_version is ssl.TLSVersion.TLSv1_3


# -- The socket ------------------------------------------------------------------------------------


async def _pair(files: Files, *, room: int) -> tuple[TlsSocket, trio.SSLStream[trio.SocketStream]]:
    """Return a server's end that takes only ``room`` octets at once, and a client's."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
    ours.settimeout(0)
    stream = trio.SSLStream(
        trio.SocketStream(trio.socket.from_stdlib_socket(theirs)),
        files.client(),
        server_hostname="localhost",
    )
    found: list[TlsSocket] = []

    async def serve() -> None:
        found.append(await shake_hands(ours, make_context(_tls(files))))

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await stream.do_handshake()
    return found[0], stream


async def test_what_was_not_taken_is_not_reported_as_sent(files: Files) -> None:
    """Whoever calls again with the same octets sends them once, however little fits at a time."""
    tls, stream = await _pair(files, room=5000)
    data = os.urandom(400_000)
    came = bytearray()

    async def read() -> None:
        while len(came) < len(data):
            came.extend(await stream.receive_some(10_000))

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            rest = memoryview(data)
            blocked = 0
            nursery.start_soon(read)
            while rest:
                try:
                    rest = rest[tls.send(rest) :]
                except BlockingIOError:
                    blocked += 1
                    await trio.lowlevel.wait_writable(tls)
    assert bytes(came) == data
    assert blocked
    with pytest.raises(BlockingIOError):
        tls.recv(100)
    tls.close()
    assert tls.fileno() == -1
    with pytest.raises((trio.BrokenResourceError, ssl.SSLError)):
        await stream.receive_some()
    await stream.transport_stream.aclose()


async def test_the_end_is_read_as_an_end_however_it_comes(files: Files) -> None:
    """With the words of TLS, and without them."""
    for polite in (True, False):
        tls, stream = await _pair(files, room=100_000)
        with trio.fail_after(PATIENCE):
            await stream.send_all(b"last")
            if polite:
                await stream.aclose()
            else:
                await stream.transport_stream.aclose()
            said = b""
            while True:
                await trio.lowlevel.wait_readable(tls)
                try:
                    data = tls.recv(1000)
                except BlockingIOError:
                    continue
                if not data:
                    break
                said += data
        assert said == b"last"
        tls.close()


async def test_a_handshake_that_fails_says_why(files: Files) -> None:
    """Plain text, a client that goes away, one that does not believe us."""
    context = make_context(_tls(files))
    for said, error, words in (
        (b"GET / HTTP/1.1\r\n", PlainTextError, "GET"),
        (b"", HandshakeError, "went away"),
        (b"\x16\x03\x01\x00\x02no", HandshakeError, "[a-z]"),
    ):
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        theirs.send(said)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(error, match=words):
            await shake_hands(ours, context)
        ours.close()
        theirs.close()

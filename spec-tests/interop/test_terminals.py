"""The programs that people have at hand, in a terminal and in a pipe, against a running stompd."""

import subprocess
from collections.abc import Callable

import pytest
from interop.clients import PROGRAMS, terminal
from server.process import PATIENCE, Daemon


def each(*names: str) -> pytest.MarkDecorator:
    """Run a test with each of these programs; all of them if none is named."""
    return pytest.mark.parametrize(
        "program",
        [
            pytest.param(name, marks=pytest.mark.needs_tool(PROGRAMS[name][0]))
            for name in names or PROGRAMS
        ],
    )


def alive(stompd: Daemon) -> None:
    """Assert that the broker goes on serving."""
    with stompd.connect() as wire:
        wire.alive()


# -- In a terminal ---------------------------------------------------------------------------------


@each()
def test_a_typed_session(program: str, stompd: Daemon, fresh: Callable[[], str]) -> None:
    """CONNECT, SUBSCRIBE, two SENDs: each MESSAGE stands on a line of its own."""
    queue = fresh()
    with terminal(program, stompd.port) as user:
        user.frame("CONNECT", "accept-version:1.2", "host:x", "")
        user.see(rb"CONNECTED\r?\n")
        user.see(rb"version:1.2\r?\n")
        user.frame("SUBSCRIBE", "id:1", f"destination:{queue}", "receipt:here", "")
        user.see(rb"\nRECEIPT\r?\nreceipt-id:here\r?\n")
        for body in ("one", "two"):
            user.frame("SEND", f"destination:{queue}", "", body)
        user.see(rb"\nMESSAGE\r?\nsubscription:1\r?\n")
        user.see(rb"\none")
        user.see(rb"\nMESSAGE\r?\nsubscription:1\r?\n")
        user.see(rb"\ntwo")
        user.frame("DISCONNECT", "receipt:bye", "")
        user.see(rb"\nRECEIPT\r?\nreceipt-id:bye\r?\n")
    alive(stompd)


@pytest.mark.needs_tool("telnet")
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_telnet_in_every_version(version: str, stompd: Daemon, fresh: Callable[[], str]) -> None:
    """Its line ends are understood, whatever version was asked for; no header ends in a CR."""
    queue = fresh()
    with terminal("telnet", stompd.port) as user:
        user.frame("CONNECT", f"accept-version:{version}", "host:x", "")
        user.see(rb"CONNECTED\r?\n")
        user.see(f"version:{version}\r\n".encode())
        user.frame("SEND", f"destination:{queue}", "x-note:y", "receipt:1", "", "hello")
        user.see(rb"receipt-id:1\r?\n")
    with stompd.connect() as wire:
        wire.subscribe("s", queue)
        wire.expect("MESSAGE", f"destination:{queue}", "x-note:y", body=b"hello\r\n")


@pytest.mark.needs_tool("telnet")
def test_telnet_without_any_header_speaks_1_0(stompd: Daemon) -> None:
    """CONNECT and an empty line are enough, and blanks after colons are forgiven then."""
    with terminal("telnet", stompd.port) as user:
        user.frame("CONNECT", "")
        user.see(rb"CONNECTED\r?\n")
        user.frame("SUBSCRIBE", "destination: /queue/blank", "receipt: 7", "")
        user.see(rb"receipt-id:7\r?\n")
        user.frame("SEND", "destination: /queue/blank", "", "hi")
        user.see(rb"destination:/queue/blank\r?\n")
        user.frame("DISCONNECT", "")
        assert b"Connection closed by foreign host." in user.see_end()


@each("telnet", "nc.openbsd", "busybox nc")
def test_lower_case_is_answered_at_enter(program: str, stompd: Daemon) -> None:
    """A human does not have to find out that a NUL is missing."""
    with terminal(program, stompd.port) as user:
        user.type("connect")
        user.see(rb"ERROR\r?\n")
        user.see(rb"commands are upper case")


@each("telnet", "nc.openbsd")
@pytest.mark.parametrize("word", ["help", "GET / HTTP/1.1"])
def test_the_lost_are_told_where_they_are(program: str, word: str, stompd: Daemon) -> None:
    """Who takes it for a shell or a web server learns what this port is."""
    with terminal(program, stompd.port) as user:
        user.type(word)
        user.see(rb"this is a STOMP port")


@pytest.mark.needs_tool("telnet")
@pytest.mark.parametrize(
    "key",
    [
        pytest.param(b"\x03", id="Ctrl-C"),
        pytest.param(b"\x1c", id="Ctrl-backslash"),
        pytest.param(b"\x1a", id="Ctrl-Z"),
    ],
)
@pytest.mark.parametrize("connected", [False, True])
def test_a_control_key_in_telnet_is_answered_visibly(
    key: bytes, stompd: Daemon, *, connected: bool
) -> None:
    """The ERROR is seen, although telnet mutes everything until its timing mark is answered."""
    with terminal("telnet", stompd.port) as user:
        if connected:
            user.frame("CONNECT", "accept-version:1.2", "host:x", "")
            user.see(rb"session:[^\n]*\n")
        user.key(key)
        user.see(rb"telnet interrupt \(Ctrl-C\); closing")
        assert b"Connection closed by foreign host." in user.see_end()
    alive(stompd)


@pytest.mark.needs_tool("telnet")
def test_ctrl_d_in_telnet_ends_the_session(stompd: Daemon) -> None:
    """On an empty line it sends one octet, which begins no frame."""
    with terminal("telnet", stompd.port) as user:
        user.frame("CONNECT", "accept-version:1.2", "host:x", "")
        user.see(rb"session:[^\n]*\n")
        user.key(b"\x04")
        user.see(rb"\(Ctrl-D\)")
        assert b"Connection closed by foreign host." in user.see_end()


@pytest.mark.needs_tool("telnet")
def test_leaving_telnet_by_its_own_prompt(stompd: Daemon) -> None:
    """``^]`` and quit close the connection; what was half typed is forgotten."""
    with terminal("telnet", stompd.port) as user:
        user.type("CONNECT", "accept-version:1.2")
        user.key(b"\x1d")
        user.see(rb"telnet> ")
        user.type("quit")
        assert b"Connection closed." in user.see_end()
    alive(stompd)


@pytest.mark.needs_tool("telnet")
def test_telnet_in_character_mode_is_helped(stompd: Daemon) -> None:
    """Return is CR NUL there; the ERROR tells what to type at telnet's own prompt."""
    with terminal("telnet", stompd.port) as user:
        user.key(b"\x1d")
        user.see(rb"telnet> ")
        user.type("mode character")
        user.see(rb"\n")
        user.key(b"CONNECT\r")
        user.see(rb"your telnet is in character mode")


@each("nc.openbsd", "nc.traditional", "busybox nc")
def test_ctrl_c_in_netcat_is_a_close(program: str, stompd: Daemon) -> None:
    """The program ends and the session with it; its temporary things are gone."""
    with terminal(program, stompd.port) as user:
        user.frame("CONNECT", "accept-version:1.2", "host:x", "")
        user.see(rb"session:[^\n]*\n")
        user.key(b"\x03")
        user.see_end()
    alive(stompd)


# -- In a pipe -------------------------------------------------------------------------------------

PIPES = {
    "nc.openbsd -N": "nc.openbsd -N 127.0.0.1 PORT",
    "nc.openbsd -q1": "nc.openbsd -q1 127.0.0.1 PORT",
    "nc.traditional -q1": "nc.traditional -q1 127.0.0.1 PORT",
    "ncat": "ncat 127.0.0.1 PORT",
    "busybox nc": "busybox nc 127.0.0.1 PORT",
    "socat": "socat -t 5 - TCP:127.0.0.1:PORT",
}


def piped(command: str, octets: bytes, stompd: Daemon) -> bytes:
    """Return what a command writes that gets ``octets`` on its standard input, then its end."""
    done = subprocess.run(
        command.replace("PORT", str(stompd.port)).split(),
        input=octets,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.stdout


through_pipes = pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, id=name, marks=pytest.mark.needs_tool(command.split()[0]))
        for name, command in PIPES.items()
    ],
)


@through_pipes
@pytest.mark.clause("R-07")
def test_frames_through_a_pipe_are_answered(
    command: str, stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """All frames are carried out although end-of-stream follows at once; the RECEIPT is printed."""
    queue = fresh()
    frames = b"CONNECT\naccept-version:1.2\nhost:/\n\n\0"
    for number in range(20):
        frames += f"SEND\ndestination:{queue}\nreceipt:{number}\n\nhi {number}\0".encode()
    wrote = piped(command, frames, stompd)
    assert wrote.startswith(b"CONNECTED\n")
    for number in range(20):
        assert f"RECEIPT\nreceipt-id:{number}\n\n\0\n".encode() in wrote
    with stompd.connect() as wire:
        wire.subscribe("s", queue)
        assert [frame.body for frame in wire.messages(20)] == [
            f"hi {number}".encode() for number in range(20)
        ]


@through_pipes
@pytest.mark.parametrize("size", [10, 100_000])
def test_an_error_comes_through_a_pipe(command: str, size: int, stompd: Daemon) -> None:
    """A bad first line with much more behind it: the text of the ERROR is printed."""
    wrote = piped(command, b"NONSENSE\n" + b"more\n" * (size // 5), stompd)
    assert b'message:unknown command "NONSENSE"' in wrote


@pytest.mark.needs_tool("busybox")
def test_busybox_telnet_sends_from_a_pipe(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """It turns LF into CR LF and closes at once: the frames are carried out, the body has CRs."""
    queue = fresh()
    frames = f"CONNECT\n\n\0\nSEND\ndestination:{queue}\n\none\ntwo\0\n".encode()
    subprocess.run(
        ["busybox", "telnet", "127.0.0.1", str(stompd.port)],
        input=frames,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    with stompd.connect() as wire:
        wire.subscribe("s", queue)
        wire.expect("MESSAGE", body=b"one\r\ntwo")


@pytest.mark.needs_tool("curl")
def test_curl_sends_until_disconnect(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """It does not end its direction with its input, so DISCONNECT has to end the session."""
    queue = fresh()
    frames = f"CONNECT\n\n\0SEND\ndestination:{queue}\nreceipt:1\n\nhi\0DISCONNECT\n\n\0"
    wrote = piped("curl --silent --output - telnet://127.0.0.1:PORT", frames.encode(), stompd)
    assert b"RECEIPT\nreceipt-id:1\n" in wrote


@pytest.mark.needs_tool("bash")
def test_bash_alone_can_send(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """A shell script needs no other program than the shell."""
    queue = fresh()
    script = (
        f"exec 3<>/dev/tcp/127.0.0.1/{stompd.port}; "
        r"printf 'CONNECT\naccept-version:1.2\nhost:/\n\n\0' >&3; "
        rf"printf 'SEND\ndestination:{queue}\nreceipt:1\n\nhi\0DISCONNECT\n\n\0' >&3; "
        "tr -d '\\0' <&3"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, timeout=PATIENCE, check=True)
    assert b"receipt-id:1" in done.stdout


@pytest.mark.needs_tool("openssl")
def test_a_tls_client_on_the_plain_port_is_let_go(stompd: Daemon) -> None:
    """It gets no ERROR, which it could not read, and the log tells the operator."""
    done = subprocess.run(
        ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{stompd.port}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode != 0
    assert stompd.logged("TLS on a plain port")["level"] == "warning"
    alive(stompd)

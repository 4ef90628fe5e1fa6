"""Where the program finds its broker: TLS by options, several places, long options anywhere."""

from pathlib import Path

import pytest
import trio
from client.programs import Finished, Stomp, environment
from client.secured import Certificate, listening, polite

from stompcli.exitcodes import ExitCode


async def run(*words: str, **env: str) -> Finished:
    """Run the program in a process of its own."""
    done = await trio.run_process(
        Stomp(0).argv(*words),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env=environment(**env),
    )
    return Finished(done.returncode, done.stdout, done.stderr.decode())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """The broker's certificate."""
    return Certificate(tmp_path_factory.mktemp("tls"), "broker", "IP:127.0.0.1")


PING = ["ping", "-c", "1", "--timeout", "5"]


@pytest.mark.parametrize(
    "words",
    [
        ["-H", "127.0.0.1", "--tls", "--tls-ca", "CA"],
        ["-H", "127.0.0.1", "--ssl", "--ssl-ca-file", "CA"],
        ["-H", "127.0.0.1", "--tls", "--tls-insecure"],
        ["-u", "stomp://127.0.0.1", "--tls", "--tls-ca", "CA"],
        ["-u", "stomp+ssl://127.0.0.1", "--tls-ca", "CA"],
    ],
)
async def test_tls_by_options(words: list[str], certificate: Certificate) -> None:
    """--tls is TLS without a URL; the words of stomp.py's program mean the same."""
    words = [certificate.cert if word == "CA" else word for word in words]
    async with listening(polite, certificate) as port:
        done = await run(*words, "-P", str(port), "-F", "/dev/null", "-q")
    assert (done.code, done.err) == (0, "")


async def test_tls_options_after_the_command(certificate: Certificate) -> None:
    """The long ones may stand after the command; its own certificate goes to the broker."""
    own = ["--tls-cert", certificate.cert, "--tls-key", certificate.key]
    async with listening(polite, certificate, certificate) as port:
        done = await run(
            *("context", "test", "c", "--host", "127.0.0.1", "--port", str(port)),
            *("--tls", "--tls-ca", certificate.cert, *own),
            XDG_CONFIG_HOME=str(context_without_anything(certificate)),
        )
    assert (done.code, done.err) == (0, "")
    assert "connected to" in done.text


def context_without_anything(certificate: Certificate) -> Path:
    """Return a folder of configuration with an empty context c."""
    folder = Path(certificate.cert).parent / "config"
    path = folder / "stomp" / "contexts" / "c.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return folder


async def test_untrusted_certificate(certificate: Certificate) -> None:
    """A certificate that nobody vouches for is exit code 69, and says so."""
    async with listening(polite, certificate) as port:
        done = await run("--tls", "-H", "127.0.0.1", "-P", str(port), *PING)
    assert done.code == ExitCode.UNAVAILABLE
    assert "its certificate is not trusted" in done.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--tls-ca", "x"], "--tls-ca is for TLS; add --tls, or write stomp+ssl://HOST:PORT"),
        (["--tls-insecure", "-u", "stomp://h"], "--tls-insecure is for TLS"),
        (["--tls", "--tls-ca", "/no/such/file"], "/no/such/file"),
        (["--tls", "--tls-key", "x"], "key_file is the key of cert_file"),
    ],
)
async def test_tls_options_that_cannot_be_meant(words: list[str], complaint: str) -> None:
    """Options of TLS without TLS, and files that are not there, are refused."""
    done = await run(*words, *PING)
    assert done.code == ExitCode.USAGE
    assert complaint in done.err


def test_several_places(stompd: int) -> None:
    """Of several URLs the first that answers is taken; none that does is exit code 69."""
    there, nowhere = f"stomp://127.0.0.1:{stompd}", "stomp://127.0.0.1:1"
    stomp = Stomp(0)
    done = stomp("-u", nowhere, "-u", there, *PING)
    assert done.code == 0
    assert f"at 127.0.0.1:{stompd}" in done.text
    assert stomp("-u", f"{nowhere},{there}", *PING).code == 0
    assert stomp(*PING, env={"STOMP_URL": f"{nowhere},{there}"}).code == 0
    assert stomp(*PING, "--url", nowhere, "--url", there).code == 0
    done = stomp("-u", nowhere, "-u", "stomp://127.0.0.1:2", *PING)
    assert done.code == ExitCode.UNAVAILABLE
    assert "127.0.0.1:1: connection refused; 127.0.0.1:2: connection refused" in done.err

"""The log: its two forms, its level, and what never stands in it."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from stompd.server import log


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave structlog and the standard library's logging as they were."""
    handlers, level = logging.root.handlers, logging.root.level
    yield
    logging.root.handlers = handlers
    logging.root.setLevel(level)
    structlog.reset_defaults()


def test_json_is_an_object_a_line() -> None:
    """Programs get the fields of each entry, libraries' entries included."""
    out = io.StringIO()
    log.configure("info", "json", out)
    structlog.get_logger().info("connected", connection="c1")
    logging.getLogger("library").warning("slow by %d", 3)
    first, second = map(json.loads, out.getvalue().splitlines())
    assert first.pop("timestamp").endswith("Z")
    assert first == {"event": "connected", "connection": "c1", "level": "info"}
    assert (second["event"], second["level"]) == ("slow by 3", "warning")


def test_text_escapes_what_a_peer_sent() -> None:
    """Control characters and changes of direction do not reach the terminal."""
    out = io.StringIO()
    log.configure("info", "text", out)
    structlog.get_logger().info("refused", login="\x1b[2J\x07\u202e\x9b")
    (line,) = out.getvalue().splitlines()
    assert r"login='\x1b[2J\x07\u202e\x9b'" in line
    assert line.isprintable()


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_and_bodies_are_replaced(form: str) -> None:
    """Whoever logs them by mistake: passcodes and bodies do not get out."""
    out = io.StringIO()
    log.configure("info", "json" if form == "json" else "text", out)
    structlog.get_logger().info("x", passcode="geheim", body=b"geheim", password="geheim")
    assert "geheim" not in out.getvalue()
    assert out.getvalue().count("***") == 3


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_shows_no_local_variables(form: str) -> None:
    """The way to a fault is shown, but not the values that were on it."""
    out = io.StringIO()
    log.configure("info", "json" if form == "json" else "text", out)
    logger = structlog.get_logger()

    def fail(passcode: str) -> None:
        if passcode:
            raise LookupError("unforeseen")

    try:
        fail("mieheg"[::-1])
    except LookupError:
        logger.exception("failed")
        logging.getLogger("library").exception("failed too")
    assert out.getvalue().count("unforeseen") >= 2
    assert "Traceback" in out.getvalue()
    assert "geheim" not in out.getvalue()


def test_the_level_changes_at_once_for_bound_loggers() -> None:
    """A reload that sets another level holds for connections that are open."""
    out = io.StringIO()
    log.configure("warning", "json", out)
    logger = structlog.get_logger().bind(connection="c1")
    logger.info("not yet")
    log.set_level("debug")
    logger.debug("now")
    log.set_level("error")
    logger.warning("no more")
    logger.critical("always")
    events = [json.loads(line)["event"] for line in out.getvalue().splitlines()]
    assert events == ["now", "always"]


def test_a_log_that_nobody_reads_does_not_stop_the_broker() -> None:
    """A broken pipe behind the log is not an error of the one who logs."""

    class Broken(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    log.configure("info", "text", Broken())
    structlog.get_logger().info("lost")
    closed = io.StringIO()
    log.configure("info", "json", closed)
    closed.close()
    structlog.get_logger().info("lost")


def test_a_fault_is_logged_even_before_the_log_is_set_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A fault while the settings are read has its traceback on standard error."""
    structlog.reset_defaults()
    try:
        _ = dict[str, str]()["unforeseen"]
    except KeyError:
        log.fault()
    out, err = capsys.readouterr()
    assert out == ""
    assert "stompd failed by a fault of its own" in err
    assert "KeyError: 'unforeseen'" in err

"""Judge a STOMP broker by the requirements that bind a server, and write the table.

    python spec-tests/conformance_run.py --broker host:port [--login u --passcode p] [--host /]

runs the wire cases against that broker (without ``--broker``: against this checkout's stompd, also
specially configured) and prints the table; ``--out DIR`` keeps it as text, Markdown and HTML.
It needs nothing but Python. The broker is left with queues whose names begin with ``conformance.``.
Ends with 0 if every row of the specification is met, else with 1; with 69 if nobody answers there,
and with 2 for a wrong command line.
"""

import argparse
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from conformance.brokers import Brokers
from conformance.cases import all_cases, requirements
from conformance.report import as_html, as_markdown, as_text, judge
from conformance.suite import Run
from wire import Broker, Patience, Unmet, Wire

USAGE = 2
UNAVAILABLE = 69


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not host:port")
    return host.strip("[]") or "127.0.0.1", int(port)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no pattern: {error}") from error


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--broker", type=_address, metavar="HOST:PORT", help="default: stompd")
    parser.add_argument("--login", default="", help="who logs in (default: nobody)")
    parser.add_argument("--passcode", default="", help="the passcode of --login")
    parser.add_argument("--host", default="localhost", help="CONNECT's host header")
    parser.add_argument("--name", default="", help="the broker's name in the table")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the tables there")
    parser.add_argument(
        "--only", type=_pattern, default="", metavar="RE", help="only cases whose name or ids fit"
    )
    parser.add_argument("--workers", type=int, default=16, help="cases at a time (default: 16)")
    return parser.parse_args()


def _server(broker: Broker) -> str:
    """What the broker calls itself in CONNECTED."""
    with Wire(broker, Patience(answer=20)) as wire:
        frame = wire.connect("1.2")
        return (frame.raw("server") or b"").decode("utf-8", "replace")


def main() -> int:
    """Run the suite as the command line says; the exit code."""
    given = _arguments()
    foreign = None
    if given.broker is not None:
        foreign = Broker(given.broker, given.login, given.passcode, given.host)
    cases = [
        case for case in all_cases() if given.only.search(" ".join((case.name, *case.clauses)))
    ]
    if not cases:
        sys.stderr.write(f"no case fits {given.only.pattern!r}\n")
        return USAGE
    started = time.monotonic()
    with Brokers(foreign) as brokers:
        try:
            server = _server(brokers.get("plain").broker)
        except (OSError, Unmet) as error:
            sys.stderr.write(f"no STOMP 1.2 session with the broker: {error}\n")
            return UNAVAILABLE
        run = Run(cases, brokers, workers=given.workers)
        try:
            outcomes = run.outcomes()
        finally:
            run.stop()
    seconds = time.monotonic() - started
    today = datetime.now(UTC).date().isoformat()
    name = given.name or server.partition("/")[0] or "the broker"
    about = f"It calls itself `{server}`; {len(cases)} checks in {seconds:.0f} s on {today}."
    report = judge(name, requirements(), outcomes, (about,))
    sys.stdout.write(as_text(report))
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        for suffix, text in (
            ("txt", as_text(report)),
            ("md", as_markdown(report)),
            ("html", as_html(report)),
        ):
            (given.out / f"{stem}.{suffix}").write_text(text, encoding="utf-8")
    score = report.score(ours=False)
    return 0 if score.met == score.judged else 1


if __name__ == "__main__":
    sys.exit(main())

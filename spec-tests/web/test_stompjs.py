"""@stomp/stompjs, the STOMP library of browsers, on Node."""

import json
import subprocess
from pathlib import Path

import pytest
from server.process import PATIENCE, daemon

import stompd.server.http

LIBRARY = Path(stompd.server.http.__file__).parent / "console" / "vendor" / "stomp.umd.min.js"
PROGRAM = Path(__file__).parent / "stompjs.cjs"


@pytest.mark.slow
@pytest.mark.needs_tool("node")
def test_stompjs_speaks_with_stompd_in_each_version() -> None:
    """Text, octets, large bodies, receipts, ACK and NACK, transactions, heart-beats, the end."""
    versions = ("1.0", "1.1", "1.2")
    with daemon("--http-listen", "127.0.0.1:0") as stompd:
        url = stompd.url.replace("http:", "ws:") + "/ws"
        programs = [
            subprocess.Popen(
                ["node", str(PROGRAM), str(LIBRARY), url, version],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for version in versions
        ]
        for version, program in zip(versions, programs, strict=True):
            written, told = program.communicate(timeout=PATIENCE)
            assert program.returncode == 0, told
            seen = json.loads(written)
            assert seen.pop("closed")[1] == 1002
            assert seen == {
                "version": version,
                "server": "stompd",
                "receipt": "receipt",
                "text": ["grüße \N{ROCKET}", "b"],
                "binary": [0, 255, 254, 0],
                "large": True,
                "nack": "none in 1.0" if version == "1.0" else "true",
                "before": "before it",
                "committed": "in it",
                "alive": True,
                "deactivated": True,
                "split": True,
            }

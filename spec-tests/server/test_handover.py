"""From one stompd to the next one over the same store: nobody is refused, and nothing is lost."""

import signal
import subprocess
import sys
from pathlib import Path

from server.process import PATIENCE, daemon
from wire import Broker, Wire


def test_the_next_one_listens_before_the_last_one_has_ended(tmp_path: Path) -> None:
    """A client that connects meanwhile waits, and finds what was confirmed by the other."""
    shared = ("--set", "reuse-port=true", "--set", f"store.wait={PATIENCE}s")
    with daemon(*shared, data=tmp_path) as first:
        wire = first.connect()
        wire.put("/queue/a", b"kept", "persistent:true")
        wire.sync()
        place = f"127.0.0.1:{first.port}"
        command = [sys.executable, "-m", "stompd", "--data", str(tmp_path), "--listen", place]
        command += ["--http-listen", "off", "--log-format", "json", *shared]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as second:
            assert second.stderr is not None
            try:
                assert "waiting for the store" in second.stderr.readline()
                first.signal(signal.SIGTERM)
                assert first.ended() == 0
                late = Wire(Broker(("127.0.0.1", first.port)))
                late.connect("1.2")
                late.subscribe("1", "/queue/a")
                assert late.messages(1)[0].body == b"kept"
                late.close()
                second.send_signal(signal.SIGTERM)
                second.communicate(timeout=PATIENCE)
                assert second.returncode == 0
            finally:
                second.kill()

"""A headless Chromium, driven over its DevTools protocol by websocket-client.

``chromium``  a browser in the block, with one page
``Page``      goes to addresses, runs scripts, clicks, types, and remembers what went wrong
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import websocket

PATIENCE = 30.0
"""How long, in seconds, something may take that has to happen; generous, for loaded machines."""

_LISTENS = re.compile(r"DevTools listening on (ws://\S+)")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)

# Of keys that are more than what they write.
_CODES = {"Enter": 13, "Escape": 27}


class Page:
    """One page. What takes its time is waited for."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=PATIENCE, suppress_origin=True)
        self._numbers = count(1)
        self._session: str | None = None
        self.troubles: list[str] = []
        """What scripts threw, and what the browser complained of."""
        target = self("Target.createTarget", url="about:blank")["targetId"]
        attached = self("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Send a command, and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self._happened(answer.get("method"), answer.get("params", {}))

    def _happened(self, event: str | None, params: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            told = details.get("exception", {}).get("description", details["text"])
            self.troubles.append(told)
        elif event == "Log.entryAdded" and params["entry"]["level"] == "error":
            entry = params["entry"]
            self.troubles.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")

    def run(self, script: str) -> Any:  # noqa: ANN401 - whatever it returns
        """Run an expression and return its value; a promise is waited for."""
        result = self(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression has a true value."""
        give_up = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({script})"):
            assert time.monotonic() < give_up, f"not true: {script}\n{self.text()}\n{self.troubles}"
            time.sleep(0.05)

    def go(self, address: str) -> None:
        """Go to an address."""
        self("Page.navigate", url=address)
        self.until("document.readyState === 'complete'")

    def leave(self) -> list[str]:
        """Go to an empty page; return what went wrong until then, and forget it."""
        self.run("0")
        troubles = list(self.troubles)
        self.go("about:blank")
        self.troubles.clear()
        return troubles

    def text(self) -> str:
        """Return what the page shows."""
        text: str = self.run("document.body.innerText")
        return text

    def shows(self, text: str) -> None:
        """Wait until the page shows a text."""
        self.until(f"document.body.innerText.includes({json.dumps(text)})")

    def click(self, selector: str, text: str = "") -> None:
        """Click what matches, and whose text begins so, once it is there."""
        begins = f"textContent.trim().startsWith({json.dumps(text)})"
        self.until(
            f"(() => {{ const found = [...document.querySelectorAll({json.dumps(selector)})]"
            f".find((one) => !one.disabled && one.{begins});"
            " if (found) found.click(); return Boolean(found); })()"
        )

    def fill(self, selector: str, text: str) -> None:
        """Write into a field as a person would."""
        self.until(f"Boolean(document.querySelector({json.dumps(selector)}))")
        self.run(
            f"(() => {{ const field = document.querySelector({json.dumps(selector)});"
            f"field.focus(); field.value = {json.dumps(text)};"
            "field.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            text = key if len(key) == 1 else ("\r" if key == "Enter" else "")
            code = _CODES.get(key, 0)
            for kind in ("keyDown", "keyUp"):
                self(
                    "Input.dispatchKeyEvent",
                    type=kind,
                    key=key,
                    text=text if kind == "keyDown" else "",
                    windowsVirtualKeyCode=code,
                )

    def size(self, width: int, height: int, *, scale: float = 1, dark: bool = False) -> None:
        """Be so large, and dark or light."""
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path) -> None:
        """Keep what is seen as a PNG file."""
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """Let go of the browser."""
        self._socket.close()


@contextmanager
def chromium() -> Iterator[Page]:
    """Run a browser in the block, and yield its page."""
    profile = tempfile.mkdtemp(prefix="chromium-")
    with subprocess.Popen(
        ["chromium", *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                found = _LISTENS.search(line)
                if found:
                    break
            else:
                raise AssertionError("chromium has ended")
            page = Page(found[1])
            try:
                yield page
            finally:
                page.close()
        finally:
            process.kill()
            process.wait(PATIENCE)
            shutil.rmtree(profile, ignore_errors=True)

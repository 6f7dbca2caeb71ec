"""A headless Chromium that is told what to do over its debugging pipe: no driver, no network."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 60.0  # seconds
_LEFT = "Inspected target navigated or closed"


class PageLeftError(AssertionError):
    """The page was left before it answered."""


class Chromium:
    """One browser with one page; skips the test where there is none.

    Args:
        profile: an empty folder.
    """

    def __init__(self, profile: Path):
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        if program is None:
            pytest.skip("needs chromium")
        from_us, to_us = os.pipe(), os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio", "--no-first-run"]
        flags += ["--remote-debugging-pipe", f"--user-data-dir={profile}", "--window-size=900,1400", "about:blank"]
        # The browser reads commands from descriptor 3 and answers on 4.
        shell = f'exec 3<&{from_us[0]} 4>&{to_us[1]}; exec "$0" "$@"'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, program, *flags],
            pass_fds=(from_us[0], to_us[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(from_us[0])
        os.close(to_us[1])
        self._out, self._in = os.fdopen(from_us[1], "wb", buffering=0), os.fdopen(to_us[0], "rb", buffering=0)
        self._number, self._left = 0, b""
        target = next(t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = {"targetId": target["targetId"], "flatten": True}
        self._session: str | None = self._call("Target.attachToTarget", attached)["sessionId"]
        self.call("Page.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command to the page, and its answer."""
        return self._call(method, parameters, self._session)

    def open(self, url: str) -> None:
        """Goes to an address and waits until it is loaded."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives, a promise's value among it; None if the page is left meanwhile, as by a click."""
        try:
            answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True)
        except PageLeftError:
            return None
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Waits until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.value(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.05)

    def screenshot(self, path: Path) -> Path:
        """The whole page as a picture."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))
        return path

    def close(self) -> None:
        """Ends the browser."""
        self._out.close()
        self._in.close()
        self.process.terminate()
        self.process.wait(PATIENCE)

    def _call(self, method: str, parameters: dict[str, Any] | None = None, session: str | None = None) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters or {}, **({"sessionId": session} if session else {})}
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if answer.get("error", {}).get("message") == _LEFT:
                    raise PageLeftError(method)
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            piece = self._in.read(1 << 16)
            assert piece, "the browser is gone"
            self._left += piece
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

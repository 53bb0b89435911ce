"""A headless Chromium, driven over a pipe with the DevTools protocol; no driver is needed."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-dev-shm-usage "
    "--remote-debugging-pipe --window-size=1000,1100 about:blank"
)


class Page:
    """One tab."""

    def __init__(self, to: BinaryIO, answers: BinaryIO) -> None:
        self._to = to
        self._answers = answers
        self._buffer = b""
        self._number = 0
        self._loaded: set[str] = set()  # the documents that have, by their loaders
        self._session: str | None = None
        self.requested: list[str] = []  # every address the page asked for
        self.errors: list[str] = []  # what went wrong in its script
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "DOM"):
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._notice(answer)

    def open(self, url: str) -> None:
        loader = self.call("Page.navigate", url=url)["loaderId"]
        # A script that ran before would run in the page before, or be cut off; and that page, too,
        # tells that it has loaded, however late.
        while loader not in self._loaded:
            self._notice(self._read())

    def evaluate(self, expression: str) -> Any:
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, expression: str, timeout_s: float = 30) -> Any:
        end = time.monotonic() + timeout_s
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, f"{expression} did not come true: {self.errors}"
            time.sleep(0.05)
        return value

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                text="\r" if key == "Enter" and kind == "keyDown" else "",
            )

    def choose_file(self, selector: str, file: Path) -> None:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def screenshot(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def _read(self) -> Any:
        while b"\0" not in self._buffer:
            data = self._answers.read1(1 << 16)
            assert data, "the browser has gone"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _notice(self, event: Any) -> None:
        if event.get("method") == "Network.requestWillBeSent":
            self.requested.append(event["params"]["request"]["url"])
        elif event.get("method") == "Page.lifecycleEvent":
            if event["params"]["name"] == "load":
                self._loaded.add(event["params"]["loaderId"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(event["params"]["exceptionDetails"]))


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are neither 3 nor 4."""
    low = os.pipe()
    read, write = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in low)
    for end in low:
        os.close(end)
    return read, write


@contextmanager
def browsing(profile: Path) -> Iterator[Page]:
    """A tab of a browser of its own, which keeps its profile in a folder."""
    # Chromium reads from 3 and writes to 4. A shell puts them there: Python in a child that was
    # forked beside gRPC's threads would be asking for trouble.
    to_read, to_write = _pipe()
    from_read, from_write = _pipe()
    shell = f'exec "$@" 3<&{to_read} 4>&{from_write}'
    process = subprocess.Popen(
        ["bash", "-c", shell, "-", str(CHROMIUM), f"--user-data-dir={profile}", *_OPTIONS.split()],
        pass_fds=[to_read, from_write],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(from_write)
    with os.fdopen(to_write, "wb", buffering=0) as to, os.fdopen(from_read, "rb") as answers:
        try:
            yield Page(to, answers)
        finally:
            process.kill()
            process.wait()

"""Headless Chromium for tests and benchmarks, driven over a pipe (DevTools protocol), without further packages."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)


def find_chromium() -> str | None:
    """The installed Chromium, or None; where there is no pipe to drive it over (Windows) None too."""
    if os.name != "posix":
        return None
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page of a headless Chromium; a context manager.

    Attributes:
        complaints: what the page wrote to its console as warning or error, its uncaught exceptions, and
            its dialogs, which are accepted.
    """

    def __init__(self, width: int = 1440, height: int = 900) -> None:
        chromium = find_chromium()
        if chromium is None:
            raise RuntimeError("no Chromium is installed")
        self.complaints: list[str] = []
        self._profile = tempfile.TemporaryDirectory(prefix="localblur-browser-", ignore_cleanup_errors=True)
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # Chromium reads commands from descriptor 3 and writes answers to 4
        script = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        arguments = [*FLAGS, f"--user-data-dir={self._profile.name}", f"--window-size={width},{height}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", script, chromium, *arguments],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = bytearray()
        self._count = 0
        self._session: str | None = None
        (target,) = (t for t in self.ask("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        time.sleep(0.1)
        self._profile.cleanup()

    def ask(self, method: str, timeout_s: float = 60, **parameters: Any) -> dict[str, Any]:
        """Send one command of the DevTools protocol and wait for its answer."""
        number = self._send(method, parameters)
        until = time.monotonic() + timeout_s
        while True:
            answer = self._receive(until)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self._note(answer)

    def open(self, address: str) -> None:
        """Go to `address`."""
        self.ask("Page.navigate", url=address)

    def run(self, script: str, timeout_s: float = 60) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        answer = self.ask(
            "Runtime.evaluate", timeout_s, expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(f"{script}: {details.get('exception', {}).get('description', details['text'])}")
        return answer["result"].get("value")

    def wait(self, condition: str, timeout_s: float = 30) -> Any:
        """Wait until a JavaScript expression is true; its value."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            try:
                value = self.run(condition)
            except RuntimeError:  # the page is on its way
                value = None
            if value:
                return value
            time.sleep(0.03)
        raise TimeoutError(f"{condition} did not come true in {timeout_s} s; console: {self.complaints}")

    def press(self, key: str, *, modifiers: int = 0) -> None:
        """Press and release a key, named as in JavaScript; `modifiers` 1 Alt, 2 Control, 8 Shift."""
        text = {"text": key} if len(key) == 1 and not modifiers & 2 else {"text": "\r"} if key == "Enter" else {}
        code = ord(key.upper()) if len(key) == 1 else {"Enter": 13, "Escape": 27}.get(key, 0)
        shared = {"key": key, "modifiers": modifiers, "windowsVirtualKeyCode": code}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **shared, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **shared)

    def type(self, text: str) -> None:
        """Put text in where the cursor is."""
        self.ask("Input.insertText", text=text)

    def mouse(self, kind: str, x: float, y: float, *, pressed: bool = True, modifiers: int = 0) -> None:
        """A mouse event: mousePressed, mouseMoved or mouseReleased at a point of the window."""
        button = {"button": "left", "buttons": int(pressed), "clickCount": 1, "modifiers": modifiers}
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def click(self, selector: str, *, modifiers: int = 0) -> None:
        """Click the middle of an element."""
        x, y = self.run(
            f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        self.mouse("mousePressed", x, y, modifiers=modifiers)
        self.mouse("mouseReleased", x, y, pressed=False, modifiers=modifiers)

    def drag(self, points: list[tuple[float, float]], *, modifiers: int = 0) -> None:
        """Press at the first point, move through the others, release at the last."""
        self.mouse("mousePressed", *points[0], modifiers=modifiers)
        for point in points[1:]:
            self.mouse("mouseMoved", *point, modifiers=modifiers)
        self.mouse("mouseReleased", *points[-1], pressed=False, modifiers=modifiers)

    def screenshot(self, path: Path) -> None:
        """Save what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    def _send(self, method: str, parameters: dict[str, Any]) -> int:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        return self._count

    def _receive(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError("Chromium does not answer")
            content = os.read(self._read, 1 << 20)
            if not content:
                raise RuntimeError("Chromium has ended")
            self._buffer += content
        end = self._buffer.index(b"\0")
        message = json.loads(self._buffer[:end])
        del self._buffer[: end + 1]
        return dict(message)

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] in ("warning", "error"):
            self.complaints.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
        elif event.get("method") == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog {parameters['type']}: {parameters['message']}")
            self._send("Page.handleJavaScriptDialog", {"accept": True})  # or the page would wait for ever

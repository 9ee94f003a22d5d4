"""Chromium without a screen, driven through ChromeDriver: WebDriver is JSON over HTTP, so nothing is
installed for it but Debian's two packages."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.publishing import needs

# without these it asks hosts of its maker's, which is not what is tested
_FLAGS = [
    *(
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--hide-scrollbars",
    ),
    *(
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ),
]


_LONG_S = 300
"""Seconds after which it hangs, however much else the machine does."""
_KNOWS_TIMEOUT = 130


class Browser:
    """One window of a browser."""

    def __init__(self, driver: str, profile: Path, version: int) -> None:
        self._driver = driver
        options: dict[str, Any] = {
            "args": [*_FLAGS, f"--user-data-dir={profile}"],
            "binary": needs("chromium", "chromium"),
        }
        if version >= _KNOWS_TIMEOUT:  # else it gives the browser a minute to start
            options["browserStartupTimeout"] = _LONG_S * 1000
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{made['sessionId']}"

    def close(self) -> None:
        """End the browser."""
        self._ask("DELETE", self._session)

    def open(self, address: str) -> None:
        """Go to an address, and wait until it is loaded."""
        self._ask("POST", f"{self._session}/url", {"url": address})

    def run(self, script: str, *values: object) -> Any:
        """What a function body returns; `values` are its arguments. A promise is waited for."""
        body = {"script": script, "args": list(values)}
        return self._ask("POST", f"{self._session}/execute/sync", body)

    def keys(self, text: str) -> None:
        """Type into what has the focus. Tab is \\ue004, Enter \\ue007."""
        strokes = [{"type": kind, "value": one} for one in text for kind in ("keyDown", "keyUp")]
        actions = [{"type": "key", "id": "keyboard", "actions": strokes}]
        self._ask("POST", f"{self._session}/actions", {"actions": actions})

    def click(self, selector: str) -> None:
        """Click on an element, as a person would."""
        using = {"using": "css selector", "value": selector}
        found = self._ask("POST", f"{self._session}/element", using)
        self.run("arguments[0].scrollIntoView({behavior: 'instant', block: 'center'})", found)
        self._ask("POST", f"{self._session}/element/{next(iter(found.values()))}/click", {})

    def devtools(self, command: str, **parameters: object) -> Any:
        """A command of the DevTools protocol."""
        body = {"cmd": command, "params": parameters}
        return self._ask("POST", f"{self._session}/goog/cdp/execute", body)

    def look(self, *, width: int, scheme: str = "light", scripts: bool = True, still: bool = False) -> None:
        """How the next page is read: width in pixels, "light" or "dark", with scripts or without; `still`:
        the reader wants no motion."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else ""},
        ]
        self.devtools("Emulation.setEmulatedMedia", features=features)
        self.devtools("Emulation.setScriptExecutionDisabled", value=not scripts)

    def complaints(self) -> list[str]:
        """What the console was told since it was last asked."""
        return [row["message"] for row in self._ask("POST", f"{self._session}/se/log", {"type": "browser"})]

    def picture(self, path: Path) -> None:
        """The whole page as a PNG."""
        size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        found = self.devtools("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._driver}{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                request, timeout=_LONG_S + 60
            ) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from error


@contextmanager
def browser(place: Path) -> Iterator[Browser]:
    """A browser with a profile of its own in `place`; the test skips where there is none."""
    needs("chromium", "chromium")
    program = needs("chromedriver", "chromium-driver")
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r" (\d+)\.", told)
    assert version, told
    argv = [program, "--port=0"]
    with (place / "driver.log").open("wb") as log:
        driver = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, text=True, cwd=place)
    assert driver.stdout is not None
    try:
        line = next(line for line in driver.stdout if "started successfully on port" in line)
        port = line.rstrip().rstrip(".").rpartition(" ")[2]
        made = Browser(f"http://127.0.0.1:{port}", place / "profile", int(version[1]))
        try:
            yield made
        finally:
            made.close()
    finally:
        driver.terminate()
        driver.wait()
        driver.stdout.close()

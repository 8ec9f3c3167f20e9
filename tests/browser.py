"""A page opened by Chromium without a window, and what it says after a script has used it."""

import json
import shutil
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
WRAPPED = """<script>
const errors = [];
addEventListener("error", event => errors.push(event.message));
console.error = (...said) => errors.push(said.join(" "));
</script>"""
AFTERWARDS = """<script>addEventListener("load", async () => {
  const found = {};
  try { await (async () => { SCRIPT })(); } catch (error) { errors.push(String(error)); }
  fetch("ADDRESS", {method: "POST", mode: "no-cors", body: JSON.stringify({...found, errors})});
});</script>"""


class _Listener(HTTPServer):
    """Waits for one message."""

    told: dict[str, Any] | None = None
    timeout = 60


class _Listening(BaseHTTPRequestHandler):
    server: _Listener

    def do_POST(self) -> None:
        self.server.told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Keep silent."""


def use_page(page: Path, script: str, folder: Path) -> dict[str, Any]:
    """Open a copy of a page from its file, run a script in it that fills ``found``, and return that.

    ``errors`` are those of the console and of the script.
    """
    with _Listener(("127.0.0.1", 0), _Listening) as listener:
        address = f"http://127.0.0.1:{listener.server_port}/"
        used = AFTERWARDS.replace("SCRIPT", script).replace("ADDRESS", address)
        text = page.read_text(encoding="utf-8").replace("<head>", "<head>" + WRAPPED, 1)
        copy = folder / f"used-{page.name}"
        copy.write_text(text.replace("</body>", used + "</body>"), encoding="utf-8")
        profile = f"--user-data-dir={folder / 'profile'}"
        browser = subprocess.Popen(
            [str(CHROMIUM), *FLAGS, profile, "--remote-debugging-port=0", copy.as_uri()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            listener.handle_request()
        finally:
            browser.kill()
            browser.wait()
    assert listener.told is not None, "the page said nothing within a minute"
    return listener.told

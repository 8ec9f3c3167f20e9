"""A page opened by Chromium without a window, and what it says after a script has used it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
WRAPPED = """<script>
const errors = [];
addEventListener("error", event => errors.push(event.message));
console.error = (...said) => errors.push(said.join(" "));
</script>"""
AFTERWARDS = """<script>addEventListener("load", async () => {
  const found = {};
  try { await (async () => { SCRIPT })(); } catch (error) { errors.push(String(error)); }
  const told = document.createElement("pre");
  told.id = "told-to-the-test";
  told.textContent = JSON.stringify({...found, errors});
  document.body.append(told);
});</script>"""


def use_page(page: Path, script: str, folder: Path) -> dict:
    """Open a copy of a page from its file, run a script in it that fills ``found``, and return that.

    ``errors`` are those of the console and of the script.
    """
    text = page.read_text(encoding="utf-8").replace("<head>", "<head>" + WRAPPED, 1)
    copy = folder / f"used-{page.name}"
    copy.write_text(
        text.replace("</body>", AFTERWARDS.replace("SCRIPT", script) + "</body>"), encoding="utf-8"
    )
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    done = subprocess.run(
        [
            str(CHROMIUM),
            *flags,
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=10000",
            "--dump-dom",
            copy.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    told = re.search(r'<pre id="told-to-the-test">(.*?)</pre>', done.stdout, re.DOTALL)
    assert told, done.stderr[-2000:]
    return json.loads(told[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))

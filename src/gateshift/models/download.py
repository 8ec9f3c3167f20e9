"""Files from the network: resumed where they broke off, checked by SHA-256, complete or absent.

While it arrives, a file lies beside its destination as ``<name>.part``. A connection that breaks leaves that
part, and the next call asks the server for the rest. What arrives whole but wrong is removed.
"""

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from gateshift.errors import WeightsError

CHUNK = 1 << 18  # bytes
TIMEOUT = 30  # seconds without a byte

Connect = Callable[[str, dict[str, str]], http.client.HTTPResponse]  # url, headers -> the answer


def fetch(url: str, path: Path, sha256: str, progress: bool = True) -> Path:
    """Download ``url`` to ``path`` unless the right file is there already; return ``path``.

    Args:
        url: http or https address.
        path: where the file goes; missing folders are made.
        sha256: hex digest that the file must have, or the beginning of it.
        progress: show a bar on stderr.

    Raises:
        WeightsError: the server cannot be reached or breaks off, or the file is not the expected one.
    """
    if path.is_file() and file_sha256(path).startswith(sha256):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        receive(url, part, progress)
    except (OSError, http.client.HTTPException) as error:
        again = f"What came is kept in {part.name}: run it again to go on" if part.exists() else "Try later"
        raise WeightsError(
            f"cannot download {url}: {error}. {again}, or put the file at {path} yourself."
        ) from error
    digest = file_sha256(part)
    if not digest.startswith(sha256):
        looks = describe(part)
        part.unlink()
        raise WeightsError(
            f"{url} gave {looks} with SHA-256 {digest[:16]}..., not {sha256}.... It was removed. "
            f"Try again later, or put the right file at {path} yourself."
        )
    part.replace(path)
    return path


def connect(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """Return a server's answer, redirects followed."""
    response: http.client.HTTPResponse = urllib.request.urlopen(
        urllib.request.Request(url, headers=headers), timeout=TIMEOUT
    )
    return response


def receive(url: str, part: Path, progress: bool, connect: Connect = connect) -> None:
    """Append to ``part`` what is missing of ``url``; start afresh where the server cannot resume."""
    have = part.stat().st_size if part.exists() else 0
    try:
        response = connect(url, {"Range": f"bytes={have}-"} if have else {})
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing lies beyond what we have: it is whole, and the checksum decides
            return
        raise
    with response:
        resumed = response.status == 206
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file, progress_bar(progress) as bar:
            task = bar.add_task(part.stem, total=total, completed=have)
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.advance(task, len(chunk))
    size = part.stat().st_size
    if total is not None and size < total:
        raise ConnectionError(f"the connection closed after {size} of {total} bytes")


def progress_bar(shown: bool) -> Progress:
    """Return a bar on stderr with name, part done, size, speed and time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not shown,
    )


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(path: Path) -> str:
    """Say what kind of file arrived instead of the expected one."""
    with path.open("rb") as file:
        start = file.read(512).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    pages = (b"<!doctype", b"<html", b"<head", b"<!--", b"<?xml")
    return "a web page" if start.startswith(pages) else "a file"

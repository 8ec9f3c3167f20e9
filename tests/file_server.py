"""A server of the files of a folder, with Range, and with the faults of the network on demand."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from loopback import SilentHandler, serving


@dataclass
class Site:
    """What is served, what was asked for, and what goes wrong.

    Attributes:
        url: of the folder.
        faults: statuses that the next requests get instead of an answer; 0 breaks the connection off.
        ranges: whether parts of files are sent.
        asked: path and Range of every request.
    """

    url: str = ""
    faults: list[int] = field(default_factory=list)
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@contextmanager
def serving_files(folder: Path) -> Iterator[Site]:
    """Serve the files of a folder while the block runs."""
    site = Site()

    class Files(SilentHandler):
        def do_GET(self) -> None:
            site.asked.append((self.path, self.headers["Range"]))
            fault = site.faults.pop(0) if site.faults else 200
            file = folder / unquote(self.path).lstrip("/")
            if fault > 200 or not file.is_file():
                self.send_error(fault if fault > 200 else 404)
                return
            body = file.read_bytes()
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or "") if site.ranges else None
            if wanted and int(wanted[1]) >= len(body):
                self.send_error(416)
                return
            if wanted:
                body = body[int(wanted[1]) : int(wanted[2]) + 1]
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if fault else body[: len(body) // 2])

    with serving(Files) as url:
        site.url = url
        yield site

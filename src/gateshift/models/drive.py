"""Files on Google Drive: its question whether to go on is answered, and no page is ever taken for a file.

A file that is too large for Drive's virus scan comes after a page with a form. One that is private, gone, or
asked for by too many comes as a page that says so; each of these is a refusal of its own, which names the
link for a browser and the place for the file.
"""

import http.client
import urllib.error
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode, urljoin

from gateshift.errors import WeightsError
from gateshift.models.download import connect, describe, receive

SITE = "https://drive.usercontent.google.com/download"
VIEW = "https://drive.google.com/file/d/{}/view"  # for people
PAGE = 1 << 20  # bytes of a page that are read
GONE = "the file is not there any more"
PRIVATE = "the file is not open to everybody any more; somebody may have to sign in and ask for access"
BUSY = "too many people fetched the file lately; Google lifts that within 24 hours"
ROBOT = "Google takes this machine's network for a robot's; try later, or from another network"
PAGES = {  # what a page says, in lower case -> what it means
    "too many users have viewed": BUSY,
    "quota exceeded": BUSY,
    "automated queries": ROBOT,
    "unusual traffic": ROBOT,
    "you need access": PRIVATE,
    "access denied": PRIVATE,
    "sign in": PRIVATE,
    "does not exist": GONE,
    "scan this file for viruses": "it asked again whether to go on",
}
STATUS = {401: PRIVATE, 403: PRIVATE, 404: GONE, 410: GONE, 429: BUSY}


class Refused(Exception):
    """Drive sent a page instead of the file; the message says why."""


def fetch_drive(drive_id: str, path: Path, *, site: str = SITE, progress: bool = True) -> Path:
    """Download a shared file of Google Drive to ``path`` unless one is there already; return ``path``.

    Args:
        drive_id: the file's id, as it stands in the link.
        path: where the file goes; missing folders are made.
        site: the address that Drive's files come from.
        progress: show a bar on stderr.

    Raises:
        WeightsError: Drive does not give the file, cannot be reached, or breaks off.
    """
    if path.is_file():
        return path
    part = path.with_name(path.name + ".part")
    url = f"{site}?{urlencode({'id': drive_id, 'export': 'download', 'confirm': 't'})}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        receive(url, part, progress, connect_drive)
        if describe(part) == "a web page":
            part.unlink()
            raise Refused("it sent a web page that calls itself a file")
    except Refused as error:
        raise WeightsError(_refusal(drive_id, path, str(error))) from error
    except (OSError, http.client.HTTPException) as error:
        kept = (
            f". What came is kept in {part.name}: the same command goes on with it" if part.exists() else ""
        )
        reason = getattr(error, "reason", error)  # urllib wraps what the network said
        raise WeightsError(_refusal(drive_id, path, f"{reason}{kept}")) from error
    part.replace(path)
    return path


def connect_drive(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """Return Drive's answer that is the file, past the page that asks whether to go on.

    Raises:
        Refused: the answer is another page.
    """
    response = _answer(url, headers)
    if not _is_page(response):
        return response
    with response:
        page = _read(response)
        address = response.url
    form = Form(page)
    action = urljoin(address, form.action)
    if "confirm" not in form.values or not action.startswith(("https:", "http:")):
        raise Refused(meaning(page))
    response = _answer(f"{action}?{urlencode(form.values)}", headers)
    if _is_page(response):
        with response:
            raise Refused(meaning(_read(response)))
    return response


class Form(HTMLParser):
    """The form of a page: where it leads, and its hidden values."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.values: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what a form and its inputs say."""
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = found.get("action", "")
        elif tag == "input" and "name" in found:
            self.values[found["name"]] = found.get("value", "")


def meaning(page: str, otherwise: str = "it sent a page that is not known here") -> str:
    """Say what a page of Drive means.

    >>> meaning("<title>Google Drive - Quota exceeded</title>")
    'too many people fetched the file lately; Google lifts that within 24 hours'
    """
    text = page.lower()
    return next((PAGES[words] for words in PAGES if words in text), otherwise)


def _answer(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """Return an answer; one with the status of an error is refused by its page, or else by its status."""
    try:
        return connect(url, headers)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # for ``receive``: nothing lies beyond what we have
            raise
        with error:
            page = error.read(PAGE).decode("utf-8", "replace")
        by_status = STATUS.get(error.code, f"it answered {error.code} {error.reason}")
        raise Refused(meaning(page, by_status)) from error


def _is_page(response: http.client.HTTPResponse) -> bool:
    return response.headers.get_content_type() in ("text/html", "application/xhtml+xml")


def _read(response: http.client.HTTPResponse) -> str:
    return response.read(PAGE).decode("utf-8", "replace")


def _refusal(drive_id: str, path: Path, reason: str) -> str:
    return (
        f"cannot fetch {path.name} from Google Drive: {reason}. "
        f"Or open {VIEW.format(drive_id)} in a browser, and put the file at {path}."
    )

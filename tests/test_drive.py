"""Google Drive played by a server on this machine: its pages are read as what they mean, and never saved."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from gateshift.errors import WeightsError
from gateshift.models.drive import fetch_drive, meaning
from loopback import SilentHandler, serving

BODY = bytes(range(256)) * 1024  # 256 KiB
CONFIRM = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<p>Google Drive can't scan this file for viruses.</p>
<form id="download-form" action="{site}/confirmed" method="get">
<input type="submit" id="uc-download-link" value="Download anyway"/>
<input type="hidden" name="id" value="ID"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="1234-abcd"></form>
</body></html>"""
QUOTA = """<html><head><title>Google Drive - Quota exceeded</title></head>
<body>Too many users have viewed or downloaded this file</body></html>"""
SIGN_IN = "<!doctype html><html><head><title>Sign in - Google Accounts</title></head></html>"
DENIED = "<html><head><title>Google Drive: Access Denied</title></head><body>You need access</body></html>"
UNKNOWN = "<html><body>A new design</body></html>"


@dataclass
class Drive:
    """What this Drive answers, and what it was asked."""

    site: str = ""
    pages: dict[str, tuple[int, str]] = field(
        default_factory=dict
    )  # path -> status and page; others give BODY
    body: bytes = BODY
    content_type: str = "application/octet-stream"
    break_after: int | None = None
    asked: list[tuple[str, dict[str, list[str]], str | None]] = field(default_factory=list)

    def fetch(self, path: Path) -> Path:
        return fetch_drive("ID", path, site=f"{self.site}/download", progress=False)


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Drive]:
    monkeypatch.setenv("no_proxy", "*")
    state = Drive()

    class Handler(SilentHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            wanted = self.headers.get("Range")
            state.asked.append((address.path, parse_qs(address.query), wanted))
            status, page = state.pages.get(address.path, (200, ""))
            if status == 302:
                self.send_response(302)
                self.send_header("Location", page)
                self.end_headers()
            elif page:
                self.answer(status, "text/html; charset=utf-8", page.replace("{site}", state.site).encode())
            else:
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                self.answer(206 if start else 200, state.content_type, state.body[start:], state.break_after)

        def answer(self, status: int, kind: str, body: bytes, break_after: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:break_after])
            self.close_connection = True

    with serving(Handler) as site:
        state.site = site
        yield state


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "model.pth.tar"


def test_a_file_comes_at_once_and_only_once(drive: Drive, path: Path) -> None:
    for _ in range(2):
        assert drive.fetch(path) == path
    assert path.read_bytes() == BODY
    assert drive.asked == [("/download", {"id": ["ID"], "export": ["download"], "confirm": ["t"]}, None)]
    assert list(path.parent.iterdir()) == [path]


def test_the_page_before_a_large_file_is_answered(drive: Drive, path: Path) -> None:
    drive.pages["/download"] = (200, CONFIRM)
    assert drive.fetch(path).read_bytes() == BODY
    form = {"id": ["ID"], "export": ["download"], "confirm": ["t"], "uuid": ["1234-abcd"]}
    assert drive.asked[1] == ("/confirmed", form, None)
    assert list(path.parent.iterdir()) == [path]


def test_a_form_with_a_relative_address_is_followed(drive: Drive, path: Path) -> None:
    drive.pages["/download"] = (200, CONFIRM.replace("{site}/confirmed", "/confirmed"))
    assert drive.fetch(path).read_bytes() == BODY


def test_a_broken_connection_resumes_behind_the_page(drive: Drive, path: Path) -> None:
    drive.pages["/download"] = (200, CONFIRM)
    drive.break_after = 100_000
    with pytest.raises(WeightsError, match=r"closed after 100000 of 262144.*the same command goes on"):
        drive.fetch(path)
    assert not path.exists()
    drive.break_after = None
    assert drive.fetch(path).read_bytes() == BODY
    assert drive.asked[-1][::2] == ("/confirmed", "bytes=100000-")


@pytest.mark.parametrize(
    ("pages", "reason"),
    [
        ({"/download": (200, QUOTA)}, "too many people fetched the file lately; .* 24 hours"),
        ({"/download": (403, QUOTA)}, "too many people fetched the file lately; .* 24 hours"),
        ({"/download": (429, "<html>slow down</html>")}, "too many people fetched the file lately"),
        ({"/download": (302, "/login"), "/login": (200, SIGN_IN)}, "the file is not open to everybody"),
        ({"/download": (200, DENIED)}, "the file is not open to everybody"),
        ({"/download": (403, DENIED)}, "the file is not open to everybody"),
        ({"/download": (404, "<html>Error 404 (Not Found)!!1</html>")}, "the file is not there any more"),
        ({"/download": (500, "<html>oops</html>")}, "it answered 500"),
        ({"/download": (200, CONFIRM.replace("{site}", "file://"))}, "it asked again whether to go on"),
        ({"/download": (200, UNKNOWN)}, "it sent a page that is not known here"),
        (
            {"/download": (200, CONFIRM), "/confirmed": (200, QUOTA)},
            "too many people fetched the file lately",
        ),
        ({"/download": (200, CONFIRM), "/confirmed": (200, CONFIRM)}, "it asked again"),
    ],
)
def test_each_page_is_a_refusal_of_its_own(
    pages: dict[str, tuple[int, str]], reason: str, drive: Drive, path: Path
) -> None:
    drive.pages = pages
    with pytest.raises(
        WeightsError, match=f"cannot fetch model.pth.tar from Google Drive: .*{reason}"
    ) as error:
        drive.fetch(path)
    assert "open https://drive.google.com/file/d/ID/view in a browser" in str(error.value)
    assert f"put the file at {path}" in str(error.value)
    assert list(path.parent.iterdir()) == []


def test_a_page_that_calls_itself_a_file_is_not_kept(drive: Drive, path: Path) -> None:
    drive.body = SIGN_IN.encode()
    with pytest.raises(WeightsError, match="a web page that calls itself a file"):
        drive.fetch(path)
    assert list(path.parent.iterdir()) == []


def test_a_part_survives_a_refusal(drive: Drive, path: Path) -> None:
    path.parent.mkdir()
    path.with_name("model.pth.tar.part").write_bytes(BODY[:1000])
    drive.pages["/download"] = (200, QUOTA)
    with pytest.raises(WeightsError, match="too many people"):
        drive.fetch(path)
    drive.pages.clear()
    assert drive.fetch(path).read_bytes() == BODY
    assert drive.asked[-1][2] == "bytes=1000-"


def test_no_network_says_where_the_file_can_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(WeightsError, match=r"cannot fetch .*refused.*/file/d/ID/view") as error:
        fetch_drive("ID", path, site="http://127.0.0.1:9/download", progress=False)
    assert str(path) in str(error.value)


def test_a_cache_that_cannot_be_written_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(WeightsError, match="cannot fetch model.pth.tar .*cache"):
        fetch_drive("ID", tmp_path / "cache" / "model.pth.tar", progress=False)


def test_pages_have_one_meaning_each() -> None:
    assert len({meaning(page) for page in (QUOTA, SIGN_IN, UNKNOWN, CONFIRM)}) == 4
    assert meaning(SIGN_IN) == meaning(DENIED)

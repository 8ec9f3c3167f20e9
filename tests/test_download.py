"""Downloads against a server on this machine: what resumes, what is refused, what is left behind."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateshift.errors import WeightsError
from gateshift.models import download
from gateshift.spec import cache_dir
from loopback import SilentHandler, serving

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(BODY).hexdigest()


@dataclass
class Server:
    """What the server answers, and what it was asked."""

    url: str = ""
    body: bytes = BODY
    ranges: bool = True
    break_after: int | None = None
    status: int = 200
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    state = Server()

    class Handler(SilentHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append(wanted)
            if state.status != 200:
                self.send_error(state.status)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
            if start and start >= len(state.body):
                self.send_error(416)
                return
            rest = state.body[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[: state.break_after])
            self.close_connection = True

    with serving(Handler) as site:
        state.url = f"{site}/weights-{SHA256[:8]}.pth"
        yield state


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights.pth"


def part_of(path: Path) -> Path:
    return path.with_name(path.name + ".part")


@pytest.mark.parametrize("length", [8, 64], ids=["prefix", "whole digest"])
def test_downloads_once(server: Server, path: Path, length: int) -> None:
    for _ in range(2):
        assert download.fetch(server.url, path, SHA256[:length], progress=False) == path
    assert path.read_bytes() == BODY
    assert server.asked == [None]
    assert list(path.parent.iterdir()) == [path]


def test_shows_its_progress_on_stderr(server: Server, path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    download.fetch(server.url, path, SHA256)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "weights.pth" in shown.err


def test_resumes_a_part(server: Server, path: Path) -> None:
    path.parent.mkdir()
    part_of(path).write_bytes(BODY[:1000])
    download.fetch(server.url, path, SHA256, progress=False)
    assert server.asked == ["bytes=1000-"]
    assert path.read_bytes() == BODY
    assert not part_of(path).exists()


def test_a_broken_connection_keeps_the_part_and_the_next_call_resumes(server: Server, path: Path) -> None:
    server.break_after = 300_000
    with pytest.raises(WeightsError, match=r"closed after 300000 of 1048576 bytes.*run it again"):
        download.fetch(server.url, path, SHA256, progress=False)
    assert not path.exists()
    assert part_of(path).stat().st_size == 300_000
    server.break_after = None
    download.fetch(server.url, path, SHA256, progress=False)
    assert server.asked == [None, "bytes=300000-"]
    assert path.read_bytes() == BODY


def test_a_server_without_ranges_starts_afresh(server: Server, path: Path) -> None:
    server.ranges = False
    path.parent.mkdir()
    part_of(path).write_bytes(b"something else")
    download.fetch(server.url, path, SHA256, progress=False)
    assert path.read_bytes() == BODY


def test_a_whole_part_needs_no_more_bytes(server: Server, path: Path) -> None:
    path.parent.mkdir()
    part_of(path).write_bytes(BODY)
    download.fetch(server.url, path, SHA256, progress=False)
    assert path.read_bytes() == BODY


@pytest.mark.parametrize(
    ("body", "looks"),
    [(b"<!DOCTYPE html><html>Sign in</html>", "a web page"), (BODY[::-1], "a file")],
    ids=["html", "damaged"],
)
def test_the_wrong_file_is_refused_and_removed(server: Server, path: Path, body: bytes, looks: str) -> None:
    server.body = body
    with pytest.raises(WeightsError, match=f"gave {looks} with SHA-256 .*, not {SHA256[:8]}"):
        download.fetch(server.url, path, SHA256[:8], progress=False)
    assert list(path.parent.iterdir()) == []


def test_a_damaged_part_is_removed_and_the_next_call_succeeds(server: Server, path: Path) -> None:
    path.parent.mkdir()
    part_of(path).write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="removed"):
        download.fetch(server.url, path, SHA256, progress=False)
    assert download.fetch(server.url, path, SHA256, progress=False).read_bytes() == BODY


def test_a_damaged_file_is_replaced(server: Server, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"damaged")
    assert download.fetch(server.url, path, SHA256, progress=False).read_bytes() == BODY


def test_a_refusing_server_says_why_and_where_the_file_can_go(server: Server, path: Path) -> None:
    server.status = 409
    with pytest.raises(WeightsError, match="409") as error:
        download.fetch(server.url, path, SHA256[:8], progress=False)
    assert str(path) in str(error.value)


def test_an_unreachable_server_is_a_weights_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(WeightsError, match="cannot download http://127.0.0.1:9/"):
        download.fetch("http://127.0.0.1:9/weights.pth", path, SHA256, progress=False)


def test_cache_dir_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GATESHIFT_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("GATESHIFT_CACHE")
    assert cache_dir() == Path.home() / ".cache" / "gateshift"

"""Bytes of files elsewhere: the right ones, tried again where that helps, and refused clearly where not."""

from pathlib import Path

import fsspec
import pytest

from file_server import serving_files
from gateshift.data import remote
from gateshift.data.remote import NotThere, is_url, join, list_url, read_url
from gateshift.errors import DataError

BODY = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0, 0.0))


@pytest.fixture
def site(tmp_path):
    (tmp_path / "a b é.tar").write_bytes(BODY)
    with serving_files(tmp_path) as site:
        yield site


def memory_url(name="a b é.tar", body=BODY):
    fsspec.filesystem("memory").pipe_file(f"/remote-test/{name}", body)
    return f"memory://remote-test/{name}"


def test_urls_are_told_from_paths():
    assert all(map(is_url, ("s3://bucket/a", "https://host/a", "memory://a", "simplecache::s3://a")))
    assert not any(map(is_url, ("a/b", "/a//b", "C:\\videos", Path("s3:/bucket"), "s3:/bucket")))
    assert join("gs://bucket/a/", "b/c.tar") == "gs://bucket/a/b/c.tar"
    assert join("a/", "b.tar") == str(Path("a", "b.tar"))


@pytest.mark.parametrize("scheme", ["http", "memory"])
def test_the_bytes_of_a_range_and_of_all(site, scheme):
    url = f"{site.url}/a b é.tar" if scheme == "http" else memory_url()
    assert read_url(url) == BODY
    assert read_url(url, 1000, 17) == BODY[1000:1017]
    assert read_url(url, len(BODY) - 1, 1) == BODY[-1:]
    with pytest.raises(DataError, match="ends before byte|not there"):
        read_url(url, len(BODY) - 1, 2)
    with pytest.raises(DataError, match="ends before byte|not there"):
        read_url(url, len(BODY), 2)


def test_one_request_is_one_range(site):
    read_url(f"{site.url}/a b é.tar", 512, 1024)
    assert site.asked == [("/a%20b%20%C3%A9.tar", "bytes=512-1535")]


@pytest.mark.parametrize("fault", [500, 503, 429, 408, 0])
def test_what_passes_is_tried_again(site, fault):
    site.faults += [fault] * 3
    assert read_url(f"{site.url}/a b é.tar", 0, 100) == BODY[:100]
    assert len(site.asked) == 4


def test_what_does_not_pass_is_refused_with_its_reason(site):
    site.faults += [503] * 9
    with pytest.raises(DataError, match=r"'http.*a b é.tar' cannot be read: .*503.*, after 4 attempts"):
        read_url(f"{site.url}/a b é.tar", 0, 100)
    assert len(site.asked) == 4


def test_pauses_grow_between_attempts(site, monkeypatch):
    slept = []
    monkeypatch.setattr(remote, "PAUSES", (1.0, 2.0, 4.0))
    monkeypatch.setattr(remote.time, "sleep", slept.append)
    site.faults += [503] * 4
    with pytest.raises(DataError):
        read_url(f"{site.url}/a b é.tar")
    assert slept == [0.0, 1.0, 2.0, 4.0]


@pytest.mark.parametrize("fault", [401, 403, 404, 410])
def test_a_refusal_is_not_tried_again(site, fault):
    site.faults += [fault]
    with pytest.raises(NotThere, match=f"not there or may not be read .*{fault}"):
        read_url(f"{site.url}/a b é.tar")
    assert len(site.asked) == 1


def test_a_server_without_ranges_is_named(site):
    site.ranges = False
    with pytest.raises(DataError, match="sends whole files only.*'Range'"):
        read_url(f"{site.url}/a b é.tar", 0, 100)
    assert len(site.asked) == 1


def test_a_server_that_is_not_there(site):
    with pytest.raises(DataError, match="cannot be read: .*after 4 attempts"):
        read_url("http://127.0.0.1:9/a.tar")


def test_what_is_not_in_memory_or_of_no_known_kind():
    with pytest.raises(NotThere, match="memory://remote-test/none"):
        read_url("memory://remote-test/none")
    with pytest.raises(DataError, match=r"bla://a.*what is installed.*gateshift\[cloud\]"):
        read_url("bla://a/b")


def test_a_driver_that_is_not_installed_is_named(monkeypatch):
    def missing(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(DataError, match=r"Install s3fs to access S3.*pip install 'gateshift\[cloud\]'"):
        read_url("s3://bucket/a")


def test_exceptions_of_a_driver_are_tried_again_and_reported(monkeypatch):
    class NoCredentials(Exception):
        """Of no kind that is known here, as those of object stores are."""

    calls = []

    def refuse(url):
        calls.append(url)
        raise NoCredentials("no credentials found")

    monkeypatch.setattr(fsspec.core, "url_to_fs", refuse)
    with pytest.raises(DataError, match="no credentials found, after 4 attempts"):
        read_url("s3://bucket/a")
    assert len(calls) == 4


def test_a_listing_changes_with_its_files():
    url = memory_url("list/one.tar").rpartition("/")[0]
    memory_url("list/other.txt")
    before = list_url(url, "*.tar")
    assert list(before) == ["one.tar"]
    memory_url("list/one.tar", BODY + b"more")
    assert list_url(url, "*.tar") != before

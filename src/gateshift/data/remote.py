"""Bytes of files that lie elsewhere: http and https as they are, every other URL through fsspec.

What fails in passing is tried again; what is not there, or not allowed, is refused at once.
"""

import http.client
import re
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import fsspec

from gateshift.errors import DataError

PAUSES = (1.0, 2.0, 4.0)  # seconds before each further try
TIMEOUT = 30  # seconds without a byte
URL = re.compile(r"[a-z][a-z0-9+.:-]*://")
QUOTED = "%:/?#[]@!$&'()*+,;=~"  # what has a meaning in a URL; all else is quoted in it
PASSING = (408, 425, 429)  # answers of a server, beside those from 500 on, that may be others soon


T = TypeVar("T")


class NotThere(DataError):
    """A file that its server does not have, or does not give."""


def is_url(location: str | Path) -> bool:
    """Tell whether a location is a URL, such as ``s3://bucket/shards``, and not a path."""
    return isinstance(location, str) and URL.match(location) is not None


def join(location: str, name: str) -> str:
    """Return the URL or path of a file below a location.

    >>> join("s3://bucket/shards/", "train-000000.tar")
    's3://bucket/shards/train-000000.tar'
    """
    return f"{location.rstrip('/')}/{name}" if is_url(location) else str(Path(location, name))


def read_url(url: str, offset: int = 0, size: int | None = None) -> bytes:
    """Return the bytes of a file, or ``size`` of them from ``offset`` on.

    Raises:
        NotThere: there is no such file, or it may not be read.
        DataError: it cannot be reached, has no such bytes, or its kind of URL is not known here.
    """
    content = insist(url, lambda: _read_once(url, offset, size))
    if size is not None and len(content) != size:
        raise DataError(
            f"'{url}' ends before byte {offset + size}. Upload it again, or write the shards again."
        )
    return content


def list_url(url: str, pattern: str) -> dict[str, str]:
    """Return the files of a folder whose names match ``pattern``, each with a text that changes with it.

    Raises:
        DataError: the folder cannot be listed, as on most web servers.
    """

    def look() -> dict[str, str]:
        system, folder = fsspec.core.url_to_fs(url)
        found = system.glob(f"{folder.rstrip('/')}/{pattern}", detail=True)
        return {
            path.removeprefix(folder).lstrip("/"): str(sorted((key, str(about[key])) for key in about))
            for path, about in sorted(found.items())
        }

    return insist(url, look)


def insist(url: str, attempt: Callable[[], T]) -> T:
    """Return what ``attempt`` does; try again what may pass, and say what went wrong at the end."""
    reason: Exception | None = None
    for pause in (0.0, *PAUSES):
        time.sleep(pause)
        try:
            return attempt()
        except (DataError, tarfile.TarError):
            raise
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            raise _not_there(url, error) from error
        except (ImportError, ValueError, NotImplementedError) as error:  # of drivers that are not there
            raise DataError(
                f"'{url}' cannot be read with what is installed ({_first_line(error)}). "
                "Object stores need the extra: pip install 'gateshift[cloud]'."
            ) from error
        except Exception as error:  # each driver has exceptions of its own
            reason = error
    raise DataError(
        f"'{url}' cannot be read: {_first_line(reason)}, after {len(PAUSES) + 1} attempts. "
        "Look at the network and the address; the same command goes on where it ended."
    ) from reason


def _read_once(url: str, offset: int, size: int | None) -> bytes:
    if url.startswith(("http://", "https://")):
        return _read_http(url, offset, size)
    system, path = fsspec.core.url_to_fs(url)
    content: bytes = system.cat_file(path, start=offset, end=None if size is None else offset + size)
    return content


def _read_http(url: str, offset: int, size: int | None) -> bytes:
    headers = {} if size is None else {"Range": f"bytes={offset}-{offset + size - 1}"}
    request = urllib.request.Request(urllib.parse.quote(url, safe=QUOTED), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            if headers and answer.status != http.client.PARTIAL_CONTENT:
                raise DataError(
                    f"the server of '{url}' sends whole files only. Put the shards on one that answers "
                    "requests with 'Range', or copy them to this machine."
                )
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        error.close()
        if error.code >= 500 or error.code in PASSING:
            raise
        raise _not_there(url, error) from error


def _not_there(url: str, error: Exception) -> NotThere:
    return NotThere(
        f"'{url}' is not there or may not be read ({_first_line(error)}). Correct the address, or the rights."
    )


def _first_line(error: Exception | None) -> str:
    """Return what an error says, short."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

"""From what a user calls DATA to a folder of lists: that of a URL, or of bare shards, is a copy in the cache.

A copy holds dataset.json, the lists and the index; videos stay where they are, and each is read from there.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateshift.data.description import DESCRIPTION, read_description, write_annotations, write_text
from gateshift.data.folders import SPLIT_FOLDERS, sub_folders
from gateshift.data.lists import NAMES, SPLITS, find_lists
from gateshift.data.records import Shards
from gateshift.data.remote import NotThere, is_url, join, list_url, read_url
from gateshift.data.shard_scan import scan_shards
from gateshift.data.shards import INDEX, format_index, read_index
from gateshift.errors import DataError
from gateshift.spec import cache_dir

FOUND = "found.json"  # dataset.json as it lies at a URL


def locate(data: str | Path) -> Path:
    """Return the folder that stands for ``data``: itself, or a copy of its lists.

    Args:
        data: a folder; the URL of one that `gateshift prepare --shards` wrote; a folder or URL of shards by
            others.

    Raises:
        DataError: the URL cannot be read, or what lies there is no dataset.
    """
    if is_url(data):
        return _fetch(str(data).rstrip("/"))
    folder = Path(data)
    names = _loose_shards(folder) if folder.is_dir() and not find_lists(folder) else []
    if not names:
        return folder
    state = [(name, (folder / name).stat().st_size, (folder / name).stat().st_mtime_ns) for name in names]
    described = read_description(folder / DESCRIPTION) if (folder / DESCRIPTION).is_file() else {}
    return _scanned(str(folder.resolve()), names, described, repr(state))


def read_shards(folder: Path, location: str) -> Shards:
    """Return the shards that ``shards`` in a folder's dataset.json names.

    Raises:
        DataError: there is no index of them.
    """
    if not is_url(location):
        location = str(folder / location)
    index = folder / INDEX
    if not index.is_file():  # the lists lie elsewhere, as those of a run do
        index = locate(location) / INDEX
    if not index.is_file():
        raise DataError(
            f"there is no '{INDEX}' at '{location}', which 'shards' in '{folder / DESCRIPTION}' names. "
            "Correct it, or write the shards again with `gateshift prepare DATA --shards`."
        )
    return Shards(location, read_index(index))


def _fetch(url: str) -> Path:
    """Copy the lists of a dataset at a URL; each call fetches them anew."""
    try:
        description = read_url(join(url, DESCRIPTION))
    except NotThere:
        return _fetch_loose(url, {})
    folder = _copy_folder(url, "")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / FOUND, description.decode("utf-8-sig", errors="replace"))
    described = read_description(folder / FOUND)
    if not _fetch_lists(url, folder):
        return _fetch_loose(url, described)
    shards = described.get("shards")
    if shards is None or (not is_url(shards) and Path(shards).is_absolute()):
        raise DataError(
            f"the dataset at '{url}' names no shards below it, and videos of a URL are read from shards "
            "only. Write them with `gateshift prepare DATA --shards`, and upload that folder whole."
        )
    location = shards if is_url(shards) else url if shards == "." else join(url, shards)
    write_text(folder / INDEX, _text(read_url(join(location, INDEX)), join(location, INDEX)))
    write_text(folder / DESCRIPTION, json.dumps(described | {"root": ".", "shards": location}))
    return folder


def _fetch_lists(url: str, folder: Path) -> bool:
    """Copy the list of each split; tell whether there is any."""
    any_list = False
    for split in SPLITS:
        for name in (pattern.format(split) for pattern in NAMES):
            try:
                text = _text(read_url(join(url, name)), join(url, name))
            except NotThere:
                (folder / name).unlink(missing_ok=True)
                continue
            write_text(folder / name, text)
            any_list = True
            break
    return any_list


def _fetch_loose(url: str, described: dict[str, Any]) -> Path:
    """Copy the lists of shards at a URL that come without any."""
    if url.startswith(("http://", "https://")):
        raise DataError(
            f"there are no '{DESCRIPTION}' and lists at '{url}', and a web server does not say which shards "
            "it has. Give the URL of a folder that `gateshift prepare DATA --shards` wrote."
        )
    found = list_url(url, "*.tar") | list_url(url, "*/*.tar")
    names = [name for name in found if "/" not in name or name.split("/")[0].lower() in SPLIT_FOLDERS]
    if not names:
        raise DataError(
            f"there is neither '{DESCRIPTION}' nor a tar file at '{url}'. Expected a folder that "
            "`gateshift prepare DATA --shards` wrote, or one of WebDataset shards. Correct the address."
        )
    return _scanned(url, names, described, repr(found))


def _scanned(location: str, names: Sequence[str], described: dict[str, Any], state: str) -> Path:
    """Return the lists of shards that have none; they are gone through once, and again when they change."""
    folder = _copy_folder(location, state + repr(described))
    if not (folder / DESCRIPTION).is_file():
        found = scan_shards(location, names, folder, described.get("classes", ()))
        found = replace(found, label_swaps=described.get("label_swaps", found.label_swaps))
        folder.mkdir(parents=True, exist_ok=True)
        assert found.shards, "that is what was found"
        write_text(folder / INDEX, format_index(found.shards.places))
        write_annotations(found, folder)  # dataset.json comes last, when all is there
    return folder


def _loose_shards(folder: Path) -> list[str]:
    """Return the tar files of a folder of shards, or of its train, val and test; none of class folders."""
    below = sub_folders(folder)
    if any(sub.name.lower() not in SPLIT_FOLDERS or sub_folders(sub) for sub in below):
        return []
    return sorted(path.relative_to(folder).as_posix() for at in (folder, *below) for path in at.glob("*.tar"))


def _copy_folder(location: str, state: str) -> Path:
    """Return where in the cache the lists of a dataset elsewhere lie; its name is the dataset's."""
    digest = hashlib.sha256(f"{location}\n{state}".encode()).hexdigest()[:16]
    return cache_dir() / "datasets" / digest / location.rpartition("/")[2]


def _text(content: bytes, url: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"'{url}' is not UTF-8 text ({error.reason}). Save it as UTF-8.") from error

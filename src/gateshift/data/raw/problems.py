"""What a copy of a dataset lacks or has too much of: one record each, with what to do."""

import os
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateshift.data.catalog import DATASETS, edition_of
from gateshift.data.raw.consistency import in_two_splits
from gateshift.data.raw.matching import Match
from gateshift.data.raw.media import FoundVideo, Media
from gateshift.data.raw.records import RawDataset, RawVideo

UNREADABLE = "unreadable-video"
MISSING_FLOW = "missing-flow"
FLOW_COUNT = "flow-count"
INCOMPLETE = frozenset(
    (
        "packed",
        "too-few-rows",
        "too-few-classes",
        "missing-video",
        "missing-frame",
        "two-places",
        UNREADABLE,
        MISSING_FLOW,
        FLOW_COUNT,
    )
)
NAMED = 20  # stray files of one folder
SPLIT_PART = re.compile(r"(.*-)[0-9a-z]{2}$")  # 20bn-something-something-v1-00


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: one word for it; the kinds in ``INCOMPLETE`` make a copy incomplete, others are remarks.
        where: the file or folder, with the line where there is one.
        detail: what is wrong.
        fix: what to do.
    """

    kind: str
    where: str
    detail: str
    fix: str

    def __post_init__(self) -> None:
        for name in ("where", "detail"):  # a file name may hold bytes that are no text
            text = getattr(self, name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            object.__setattr__(self, name, text)


def annotation_problems(raw: RawDataset, root: Path) -> Iterator[Problem]:
    """Yield what is wrong with the annotations: rows that the published ones have, videos in two splits."""
    for split, published in raw.published.items():
        yield from _row_problems(
            raw.splits.get(split) or raw.unlabelled.get(split, ()), split, published, root
        )
    spec = DATASETS.get(raw.name) or DATASETS.get(edition_of(raw.name) or "")
    expected = spec.num_classes if spec else 0
    if raw.splits and len(raw.classes) < expected:
        detail = f"the lists name {len(raw.classes)} of the {expected} classes of {raw.name}"
        fix = "Fetch the lists again, unless the copy is to be smaller."
        yield Problem("too-few-classes", str(raw.files[0]), detail, fix)
    if twice := in_two_splits(raw.splits):
        before, after, count = twice
        detail = f"'{before.video}' is in {before.where} as well ({count} such videos)"
        yield Problem("duplicate", after.where, detail, "Accuracy on it says little: training has seen it.")


def _row_problems(rows: Sequence[RawVideo], split: str, published: int, root: Path) -> Iterator[Problem]:
    if not rows:
        if split != "test":
            detail = f"there is no list of the {published} published rows of '{split}'"
            yield Problem("too-few-rows", str(root), detail, "Fetch the list, and put it beside the others.")
        return
    files = list(dict.fromkeys(video.where.rpartition(":")[0] for video in rows))
    name = Path(files[0]).name
    lists = f"{name} lists" if len(files) == 1 else f"{len(files)} files such as {name} list"
    if len(rows) < published:
        detail = f"{lists} {len(rows)} of {published} published rows"
        fix = "Fetch the file again, unless the copy is to be smaller."
        yield Problem("too-few-rows", files[0], detail, fix)
    elif len(rows) > published:
        detail = f"{lists} {len(rows)} rows, and {published} were published"
        yield Problem("too-many-rows", files[0], detail, "Compare it with the published file.")


def match_problems(video: RawVideo, match: Match, root: Path, bare: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what is wrong with the files of one annotated video; ``bare`` has the empty folders by name."""
    if len(match.candidates) > 1:
        both = " and ".join(f"'{found.path}'" for found in match.candidates[:2])
        more = f" and {len(match.candidates) - 2} more" if len(match.candidates) > 2 else ""
        detail = f"'{video.video}' could be {both}{more}"
        yield Problem("two-places", video.where, detail, f"Move all but one out of '{root}'.")
    elif match.video is None:
        folder = bare.get(video.video.rpartition("/")[2])
        empty = f", and its folder '{folder}' is empty" if folder else ""
        detail = f"'{video.video}' is not there{empty}"
        yield Problem("missing-video", video.where, detail, f"Fetch or extract it into '{root}'.")
    else:
        if match.differs_in_case:
            detail = f"'{video.video}' is '{match.video.path}' there; only upper and lower case differ"
            yield Problem("case", video.where, detail, "Nothing: it was taken.")
        yield from _file_problems(video, match.video, root)


def stray_problems(
    raw: RawDataset, media: Media, matches: Mapping[str, Match], root: Path
) -> Iterator[Problem]:
    """Yield what lies beside the annotated videos and is in no annotation."""
    found = [match.video for match in matches.values() if match.video]
    known = {video.path for video in found}
    for match in matches.values():
        known |= {video.path for video in (*match.candidates, match.passed_over) if video}
    beside = {_parent(video.path) for video in found}
    fix = "Move it out of there, or complete the annotations; it was left out."
    for video in media.videos:
        if video.path not in known and _parent(video.path) in beside:
            kind = "stray-folder" if video.frames else "stray-file"
            yield Problem(kind, str(root / video.path), f"'{video.path}' is in no annotation", fix)
    for path in media.bare_folders:
        if _parent(path) in beside and path not in matches and path.rpartition("/")[2] not in matches:
            yield Problem("stray-folder", str(root / path), f"'{path}' is empty, and in no annotation", fix)
    read = {os.path.relpath(file, root) for file in raw.files}
    for path in media.other_files:
        parent = _parent(path)
        if parent and parent in beside and path not in read and not Path(path).name.startswith("."):
            yield Problem("stray-file", str(root / path), f"'{path}' is no video", "Move it out of there.")


def packed_problems(media: Media, root: Path) -> Iterator[Problem]:
    """Yield the archives in the root, one for all parts of a split one, with the command to unpack."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    for path in media.archives:
        match = SPLIT_PART.match(path)
        by_stem[match[1] if match else path].append(path)
    for stem, parts in by_stem.items():
        more = f" and {len(parts) - 1} more parts" if len(parts) > 1 else ""
        detail = f"videos are missing, and '{parts[0]}'{more} may hold them"
        command = _unpacking(root, stem, parts)
        yield Problem("packed", str(root / parts[0]), detail, f"Extract the archives first: `{command}`.")


def _file_problems(video: RawVideo, found: FoundVideo, root: Path) -> Iterator[Problem]:
    where = str(root / found.path)
    for first, last in found.frames.gaps if found.frames else ():
        frames = f"frame '{first}' is" if first == last else f"frames '{first}' to '{last}' are"
        fix = f"Extract '{video.video}' again; it was left out."
        yield Problem("missing-frame", where, f"{frames} missing from '{found.path}'", fix)
    stray = found.frames.stray if found.frames else ()
    for name in stray[:NAMED]:
        detail = f"'{name}' in '{found.path}' is no frame"
        yield Problem("stray-file", f"{where}/{name}", detail, "Move it out of there; it was not counted.")
    if len(stray) > NAMED:
        detail = f"{len(stray) - NAMED} more files in '{found.path}' are no frames"
        yield Problem("stray-file", where, detail, "Move them out of there; they were not counted.")
    if found.empty:
        files = [f"{found.path}/{name}" if found.frames else found.path for name in found.empty]
        detail = " and ".join(f"'{file}'" for file in files)
        fix = "Extract or fetch it again; it was counted."
        yield Problem("empty-file", str(root / files[0]), f"{detail}: of no size", fix)


def _unpacking(root: Path, stem: str, parts: Sequence[str]) -> str:
    """Return the shell command that unpacks an archive, or the parts of a split one, where it lies."""
    first, folder = shlex.quote(str(root / parts[0])), shlex.quote(str((root / parts[0]).parent))
    name = parts[0].lower()
    if parts[0] != stem:
        return (
            f"cat {shlex.quote(str(root / stem))}{'?' * len(parts[0][len(stem) :])} | tar -xzf - -C {folder}"
        )
    if name.endswith(".zip"):
        return f"unzip {first} -d {folder}"
    if name.endswith((".rar", ".7z")):
        return f"7z x {first} -o{folder}"
    return f"tar -xf {first} -C {folder}"


def _parent(path: str) -> str:
    return path.rpartition("/")[0]

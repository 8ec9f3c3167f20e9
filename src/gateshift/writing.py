"""Files that are never found half-written, and what to say where one cannot be written."""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateshift.errors import WriteError

PARTIAL = ".partial"  # what a file is called that is being written: .<name>.<process><this>
CAUSES = {  # what the system says of a disk -> in words, and what to do
    errno.ENOSPC: ("the disk is full", "Make room there"),
    errno.EDQUOT: ("your quota of that disk is used up", "Make room there"),
    errno.EFBIG: ("the system allows no file of that size (see `ulimit -f`)", "Raise the limit"),
    errno.EROFS: ("the disk can only be read", "Have it made writable"),
    errno.EIO: ("the disk fails (the system's log says more, see `dmesg`)", "Have it looked at"),
    errno.EACCES: ("you may not write there", "Have that changed"),
    errno.EPERM: ("you may not write there", "Have that changed"),
}
NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP)  # what file systems say that cannot write out a folder


def write_atomically(
    path: Path, write: Callable[[Path], object], *, size: int | None = None, previous: Path | None = None
) -> None:
    """Let ``write`` fill a file beside ``path``, then put it in place in one step, safe from a power loss.

    Args:
        path: where the file goes; missing folders are made.
        write: writes to the path that it is given.
        size: bytes that it will take, for the message where there is no room.
        previous: where the file goes that is in place so far. A kill may leave that one alone.

    Raises:
        WriteError: the file cannot be written; what was there before is.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    with write_faults(path, size):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(partial)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            if previous is not None and path.exists():
                path.replace(previous)
            partial.replace(path)
            sync_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all.

    Raises:
        WriteError: the file cannot be written; what was there before is.
    """
    content = text.encode()
    write_atomically(path, lambda partial: partial.write_bytes(content), size=len(content))


@contextmanager
def write_faults(path: Path, size: int | None = None) -> Iterator[None]:
    """Say of a file that the block cannot write which one, why, how much room it takes, and what to do.

    Raises:
        WriteError: the block failed for what the system says of the disk.
    """
    try:
        yield
    except WriteError:
        raise
    except Exception as error:  # torch and safetensors hide the system's error in errors of their own
        number = system_error(error)
        if number is None:
            raise
        cause, advice = CAUSES.get(number, (os.strerror(number), "Mend that"))
        room = f" It takes {megabytes(size)}, and {megabytes(free_bytes(path))} are free." if size else ""
        raise WriteError(
            f"{path} cannot be written: {cause}.{room} What was written before is kept. "
            f"{advice}, then give the same command again."
        ) from error


def system_error(error: BaseException) -> int | None:
    """Return the number of the system's error behind ``error``; None where it is something else.

    >>> system_error(RuntimeError("file write failed")), system_error(OSError(28, "No space left on device"))
    (None, 28)
    """
    if isinstance(error, OSError):
        return error.errno
    seen: BaseException | None = error
    while seen is not None:
        said = re.search(r"\(os error (\d+)\)", str(seen))  # so does Rust
        number = seen.errno if isinstance(seen, OSError) else int(said[1]) if said else None
        if number in CAUSES:
            return number
        seen = seen.__cause__ or seen.__context__
    return None


def sync_folder(folder: Path) -> None:
    """Have the names of a folder's files written out, where the system can do that."""
    if os.name != "posix":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
    finally:
        os.close(opened)


def remove_partials(folder: Path) -> None:
    """Remove what processes left half-written below ``folder`` that are no longer there."""
    for partial in folder.rglob(f"*{PARTIAL}"):
        number = partial.name.removesuffix(PARTIAL).rpartition(".")[2]
        if number.isdigit() and not _runs(int(number)):
            partial.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    if process == os.getpid():
        return False  # of one that had the number before: this one is not writing now
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def free_bytes(path: Path) -> int:
    """Return how much room the disk of a file has, which need not exist yet."""
    there = next(folder for folder in path.absolute().parents if folder.exists())
    return shutil.disk_usage(there).free


def megabytes(size: int) -> str:
    """Return a number of bytes in words.

    >>> megabytes(24_300_000), megabytes(1234), megabytes(0)
    ('24.3 MB', '1 kB', '0 kB')
    """
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB"

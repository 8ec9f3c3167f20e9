"""Progress bars with an ETA on stderr; silent where nobody watches."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def console() -> Console:
    """Return the console for people: stderr, so that stdout stays free for JSON."""
    return Console(stderr=True, highlight=False)


class Bar:
    """One running bar: ``advance`` after each step, with a note to show beside it."""

    def __init__(self, progress: Progress, description: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=total, note="")

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        """Move on by ``steps``."""
        self._progress.update(self._task, advance=steps)
        if note is not None:
            self._progress.update(self._task, note=note)

    def show(self, note: str) -> None:
        """Show a note beside the bar, in place of the one before."""
        self._progress.update(self._task, note=note)


@contextmanager
def progress_bar(description: str, total: int, *, shown: bool = True) -> Iterator[Bar]:
    """Show a bar of ``total`` steps while the block runs; it vanishes at the end."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    target = console()
    with Progress(
        *columns, console=target, transient=True, disable=not (shown and target.is_terminal)
    ) as bar:
        yield Bar(bar, description, total)

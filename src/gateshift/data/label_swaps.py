"""Which classes a mirror image exchanges, read from their names.

"Swiping Left" becomes "Swiping Right" in a mirror, "from left to right" becomes "from right to left", and
clockwise becomes counter-clockwise. A class swaps only with a class that exists under exactly the mirrored
name.
"""

import re
from collections import defaultdict
from collections.abc import Sequence

OPPOSITES = (
    ("left", "right"),
    ("lefts", "rights"),
    ("leftward", "rightward"),
    ("leftwards", "rightwards"),
    ("lefthand", "righthand"),
    ("lefthanded", "righthanded"),
    ("leftmost", "rightmost"),
    ("clockwise", "counterclockwise"),
    ("cw", "ccw"),
)
MIRRORED = {a: b for a, b in OPPOSITES} | {b: a for a, b in OPPOSITES}
CAMEL_CASE = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
WORD = re.compile(r"[^\W\d_]+|\d+")
ANTICLOCKWISE = re.compile(r"\b(?:anti|counter) ?clockwise\b")  # all spellings read as one word


def find_label_swaps(classes: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of classes that a mirror image exchanges, in the order of ``classes``.

    >>> find_label_swaps(["Swiping Left", "Swiping Right", "Stop Sign"])
    (('Swiping Left', 'Swiping Right'),)
    """
    by_words: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in classes:
        by_words[_words(name)].append(name)
    pairs: dict[frozenset[str], tuple[str, str]] = {}
    for name in classes:
        words = _words(name)
        mirrored = tuple(MIRRORED.get(word, word) for word in words)
        partners = by_words.get(mirrored, [])
        if mirrored != words and len(partners) == 1 and len(by_words[words]) == 1:
            pairs.setdefault(frozenset((name, partners[0])), (name, partners[0]))
    return tuple(pairs.values())


def _words(name: str) -> tuple[str, ...]:
    """Return a class name's words in lower case: "TurnLeft", "turn_left" and "Turn-Left" read the same."""
    words = " ".join(WORD.findall(CAMEL_CASE.sub(" ", name))).lower()
    return tuple(ANTICLOCKWISE.sub("counterclockwise", words).split())

"""The architecture is a test: imports point down, and nothing is imported relatively."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src" / "gateshift"
DOORS = {"cli.py", "cli_tables.py", "cli_accuracy_tables.py", "cli_rows.py", "__init__.py", "__main__.py"}
SOURCES = sorted(p for p in SRC.rglob("*.py") if p.relative_to(SRC).as_posix() not in DOORS)
MAY_IMPORT = {
    "errors": set(),
    "spec": {"errors"},
    "writing": {"errors"},
    "nn": set(),
    "data": {"spec", "errors"},
    "models": {"nn", "spec", "writing", "errors"},
    "evidence": {"writing", "errors"},
    "engine": {"evidence", "data", "models", "nn", "spec", "writing", "errors"},
    "apps": {"engine", "evidence", "data", "models", "nn", "spec", "writing", "errors"},
}
NEVER = {"utils.py", "helpers.py", "common.py", "misc.py", "base.py"}


def rooms_imported_by(path: Path) -> set[str]:
    """Rooms of gateshift named by any import in the file, lazy imports included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("gateshift.")} - {"__version__"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(SRC).as_posix())
def test_imports_point_down(path):
    room = path.relative_to(SRC).parts[0].removesuffix(".py")
    assert rooms_imported_by(path) <= MAY_IMPORT[room] | {room}


def test_no_file_is_a_drawer():
    assert not [path for path in SRC.rglob("*.py") if path.name in NEVER or path.name.endswith("_factory.py")]

"""What the documents say is what the program does."""

import re
import shlex
from pathlib import Path

import pytest

from gateshift import cli

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def command_lines():
    for document in DOCUMENTS:
        for block in re.findall(r"```(?:console|sh)?\n(.*?)```", document.read_text(encoding="utf-8"), re.S):
            for line in block.splitlines():
                if line.startswith("gateshift "):
                    yield pytest.param(line.split("#")[0].strip(), id=line[:60])


@pytest.mark.parametrize("line", list(command_lines()))
def test_every_command_line_names_a_command(line):
    assert shlex.split(line)[1] in cli.COMMANDS


def test_readme_names_every_command():
    assert not [
        name for name in cli.COMMANDS if f"`{name}" not in README and f"gateshift {name}" not in README
    ]


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.S))
def test_python_of_the_readme_runs(block, capsys):
    exec(compile(block, "README.md", "exec"), {})


def test_readme_tree_is_the_tree():
    tree = README.split("```text\n")[1].split("```")[0]
    named = set(re.findall(r"[a-z_0-9]+\.py", tree))
    there = {path.name for path in (ROOT / "src").rglob("*.py")} - {"__init__.py", "__main__.py"}
    assert named - {"__init__.py"} == there


def test_no_document_links_to_a_missing_file():
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"

"""What the documents say is what the program does."""

import inspect
import pkgutil
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


RELEASED = (ROOT / "docs" / "released-code.md").read_text(encoding="utf-8")
OPTIONS, BEHAVIOURS = RELEASED.split("\n## Behaviours")
OPTS = """
    dataset modality --train_list --val_list --split --root_path --store_name --arch --num_segments
    --consensus_type --gsm --dropout --do --loss_type --epochs --batch-size -b --iter_size --lr
    --learning-rate --warmup --momentum --weight-decay --wd --clip-gradient --gd --no_partialbn --npb
    --print-freq -p --eval-freq -ef --workers -j --resume --evaluate -e --snapshot_pref --checkpoint
    --run_iter --start-epoch --gpus --flow_prefix --root_log --root_model --root_output --name
"""  # of the released main.py
TEST_OPTS = """
    dataset modality weights --arch --save_scores --test_segments --max_num --test_crops --input_size
    --crop_fusion_type --workers -j --gpus --num_clips --softmax --gsm
"""  # of the released test_models.py


def table_rows(text):
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if row[0].strip() not in ("there", "---", "-")]


@pytest.mark.parametrize(("heading", "options"), [("`main.py`", OPTS), ("`test_models.py`", TEST_OPTS)])
def test_every_released_option_has_a_row(heading, options):
    part = OPTIONS.split(f"\n{heading}")[1].split("\n\n| there")[1].split("\n\n")[0]
    named = {word for row in table_rows(part) for word in re.findall(r"`([^`]+)`", row[0])}
    assert named == set(options.split())


def test_every_row_of_the_options_has_a_counterpart_or_a_reason():
    rows = table_rows(OPTIONS)
    assert len(rows) > 50
    for there, here, remark in rows:
        assert here == "none" and remark or re.fullmatch(r"`[a-z]+ [^`]+`", here), there


def named_parameters(text):
    for command, words in re.findall(r"`(?:gateshift )?([a-z]+)((?: (?:--[a-z-]+|[A-Z]+))+)`", text):
        for word in words.split():
            yield pytest.param(command, word, id=f"{command} {word}")


@pytest.mark.parametrize(("command", "word"), list(named_parameters(RELEASED)))
def test_every_flag_named_there_is_one_of_its_command(command, word):
    parameters = inspect.signature(pkgutil.resolve_name(cli.COMMANDS[command][0])).parameters
    name = word.removeprefix("--").replace("-", "_").lower()
    assert name in parameters or (name.startswith("no_") and name[3:] in parameters)
    keyword = parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    assert keyword == word.startswith("--")


def test_every_behaviour_says_what_and_why_and_where():
    rows = table_rows(BEHAVIOURS)
    assert len(rows) > 50
    for there, here, why, where in rows:
        assert here.startswith(("kept", "mended")), there
        assert why or here.startswith("mended"), there
        for place in re.findall(r"`([^`]+)`", where):
            path, _, test = place.partition("::")
            file = ROOT / path if path.startswith("tests/") else ROOT / "src" / "gateshift" / path
            assert file.is_file(), place
            assert not test or f"def {test}(" in file.read_text(encoding="utf-8"), place
        assert "`" in where, there

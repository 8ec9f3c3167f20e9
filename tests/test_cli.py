"""The command line as a user meets it: help, refusals, JSON."""

import ast
import inspect
import json
import pkgutil
import subprocess
import sys
from typing import get_type_hints

import pytest

import gateshift
from gateshift import cli, cli_tables


def call(*words, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "gateshift", *words], capture_output=True, text=True, cwd=cwd, timeout=120
    )


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_is_a_documented_annotated_public_function(name):
    function = pkgutil.resolve_name(cli.COMMANDS[name][0])
    assert function.__name__ == name.replace("-", "_")
    assert inspect.getdoc(function)
    assert set(inspect.signature(function).parameters) <= set(get_type_hints(function))
    assert name in cli_tables.TABLES
    if name != "models":  # the name of a room
        assert getattr(gateshift, function.__name__) is function


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_with_an_example(name):
    function = pkgutil.resolve_name(cli.COMMANDS[name][0])
    assert f"Example: `gateshift {name}" in inspect.getdoc(function)


def test_tables_are_drawn_without_torch():
    code = "import sys; import gateshift.cli_tables; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"


def test_help_imports_neither_torch_nor_any_library():
    code = "import sys; from gateshift import cli; cli.help_text(); print(sorted(sys.modules))"
    modules = ast.literal_eval(subprocess.check_output([sys.executable, "-c", code], text=True))
    assert not {"torch", "numpy", "rich", "tyro", "av"} & set(modules)


def test_help_lists_all_commands():
    answer = call("--help")
    assert answer.returncode == 0
    assert all(name in answer.stdout for name in cli.COMMANDS)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trian"], "Did you mean train"),
        (["train", "no/such/folder"], "no/such/folder"),
        (["info", "gsm_resent50"], "Did you mean gsm_resnet50"),
        (["test", "no/such/run", "no/such/data"], "no/such/run"),
        (["predict", "no/such/run", "x.mp4"], "x.mp4"),
        (["train", ".", "--epochs", "0"], "epochs is 0"),
        (["train", ".", "--recipe", "papr"], "Did you mean paper"),
        (["train", ".", "--epoch", "3"], "--epoch"),
        (["download", "gsm_inceptionv3_something_8"], "Did you mean gsm_inceptionv3_something-v1_8"),
        (
            ["download", "gsm_inceptionv3_diving48_16", "--folder", "."],
            "Save https://drive.google.com/file/d/1gbt",
        ),
    ],
)
def test_refusals_say_what_and_exit_2(words, says, tmp_path):
    answer = call(*words, cwd=tmp_path)
    assert answer.returncode == 2, answer.stderr
    assert says in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""


def test_json_is_one_object_on_stdout(tmp_path):
    answer = call("info", "tsn_resnet18", "--num-segments", "4", "--json", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["num_segments"] == 4


def test_every_public_name_resolves():
    for name in gateshift.__all__:
        assert getattr(gateshift, name) is not None
    assert set(gateshift.__all__) <= set(dir(gateshift))
    with pytest.raises(AttributeError):
        _ = gateshift.no_such_name

"""The command line: each command is one public function, its docstring and annotations are the help."""

import importlib
import inspect
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn, get_type_hints

from gateshift import __version__
from gateshift.errors import GateshiftError, lookup

COMMANDS = {  # name -> (module:function, one line of help)
    "demo": ("gateshift.apps.demo:demo", "train TSN and GSM on an embedded dataset, test, predict, explain"),
    "prepare": ("gateshift.apps.prepare:prepare", "a dataset to lists, frames, small copies or shards"),
    "check": ("gateshift.apps.check:check", "everything wrong with a dataset, before training"),
    "train": ("gateshift.engine.train:train", "train on a folder of videos; the same command again resumes"),
    "find-lr": ("gateshift.apps.find_lr:find_lr", "propose a learning rate, by steps with ever larger ones"),
    "show": ("gateshift.apps.show:show", "augmented training clips to look at, beside their frames"),
    "test": ("gateshift.engine.test:test", "accuracy over clips and crops, per class, confusion matrix"),
    "report": ("gateshift.apps.report:report", "one page of what a run came to, beside another one"),
    "reproduce": (
        "gateshift.apps.reproduce:reproduce",
        "the published table beside what the released weights give here",
    ),
    "predict": ("gateshift.apps.predict:predict", "label and probability of videos, folders, globs"),
    "explain": ("gateshift.apps.explain:explain", "where the gates of a model look in a video"),
    "compare": ("gateshift.apps.compare:compare", "one backbone under several temporal modules"),
    "bench": (
        "gateshift.apps.bench:bench",
        "time and memory of reading, training, inference, beside the plain way",
    ),
    "ensemble": ("gateshift.apps.ensemble:ensemble", "add what several models say of the same videos"),
    "info": ("gateshift.apps.info:info", "parameters, MACs and insertion points of a model"),
    "convert": (
        "gateshift.apps.convert:convert",
        "the authors' GSM / GSF checkpoints to this project's weights",
    ),
    "download": ("gateshift.apps.download:download", "the authors' released weights, by name, checked"),
    "models": ("gateshift.apps.models:models", "the models there are, and the released weights"),
    "datasets": ("gateshift.data.catalog:datasets", "the datasets that are known by name"),
    "recipes": ("gateshift.engine.recipes:recipes", "named training settings"),
}

HELP = """gateshift {version}: recognise actions in video with Gate-Shift Networks

usage: gateshift COMMAND ... [--json]

{commands}

gateshift COMMAND --help   explains a command, with an example
--json                     one JSON object on stdout, nothing else there

example: gateshift train my_videos && gateshift predict runs/my_videos-gsm_efficientnet_lite0 new.mp4
"""


def main(argv: list[str] | None = None) -> NoReturn:
    """Run one command; exit 0 done, 1 done and the answer is no, 2 refused, 130 interrupted."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text(), end="")
        sys.exit(0 if words else 2)
    if words[0] in ("-V", "--version"):
        print(__version__)
        sys.exit(0)
    name = words[0]
    try:
        sys.exit(run(name, words[1:]))
    except GateshiftError as error:
        refuse(name, str(error), 2)
    except KeyboardInterrupt as error:
        if "RANK" in os.environ:  # a launcher ends all of its processes once one has gone
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if is_follower():
            sys.exit(130)
        refuse(name, str(error) or "interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def run(name: str, words: list[str]) -> int:
    """Call the command ``name`` with ``words``, show what it answers, return the exit status."""
    target, _ = lookup("command", name, COMMANDS)
    as_json = "--json" in words
    words = [word for word in words if word != "--json"]
    module, _, attribute = target.partition(":")
    function = getattr(importlib.import_module(module), attribute)
    tyro = importlib.import_module("tyro")
    answer = tyro.cli(as_command(function), prog=f"gateshift {name}", args=spell_switches(function, words))
    leave_group()
    if is_follower():
        return 0
    if as_json:
        print(json.dumps(answer, ensure_ascii=False, allow_nan=False))
    else:
        importlib.import_module("gateshift.cli_tables").show(name, answer)
    return 1 if answer.get("ok") is False else 0


def is_follower() -> bool:
    """Tell whether this is one of a launcher's processes but not the first, which answers for all."""
    return os.environ.get("RANK", "0") != "0"


def leave_group() -> None:
    """Part from the other processes of a launcher, whose threads may abort this one if it just exits."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def as_command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` as tyro should see it: what Python takes by position, the shell does too."""
    positional = importlib.import_module("tyro").conf.Positional
    hints = get_type_hints(function)

    def command(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            hint = positional[hint]
        parameters.append(parameter.replace(annotation=hint))
    command.__doc__ = function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def spell_switches(function: Callable[..., Any], words: list[str]) -> list[str]:
    """Spell out switches that may be left to the recipe: --flip is --flip True, --no-flip is --flip False."""
    hints = get_type_hints(function)
    switches = {f"--{name.replace('_', '-')}" for name, hint in hints.items() if hint == bool | None}
    spelled = []
    for word, after in zip(words, [*words, ""][1:], strict=True):
        if word in switches and after not in ("True", "False", "None"):
            spelled += [word, "True"]
        elif word.replace("--no-", "--", 1) in switches and word.startswith("--no-"):
            spelled += [word.replace("--no-", "--", 1), "False"]
        else:
            spelled.append(word)
    return spelled


def help_text() -> str:
    """Return the list of commands; nothing is imported for it."""
    lines = [f"  {name:<10}{text}" for name, (_, text) in COMMANDS.items()]
    return HELP.format(version=__version__, commands="\n".join(lines))


def refuse(name: str, message: str, status: int) -> NoReturn:
    """Say why on stderr and exit."""
    print(f"gateshift {name}: {message}", file=sys.stderr)
    sys.exit(status)

"""Help, completion, wrong words and --json: alike in every command, and true."""

import os
import re
import shlex
import subprocess
import sys

import pytest
import typer

from command_line import call
from uncollapse.cli import EXIT_CODES, app

GROUP = typer.main.get_command(app)
COMMANDS = sorted(GROUP.commands)
RANGE = re.compile(r"x[<>]=|from [\d-]|\d to (below )?\d|to below \d|above 0|between 0 and 1")


def run(monkeypatch, *words):
    """Exit code, stdout and stderr of the command line."""
    monkeypatch.setenv("COLUMNS", "80")
    answer = call(*map(str, words))
    return answer.returncode, answer.stdout, answer.stderr


def records(name):
    """Names with type, and text with default and range, of a command's arguments and options."""
    command = GROUP.commands[name]
    return [p.get_help_record(typer.Context(command, info_name=name)) for p in command.params]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_complete_at_80_columns(name, monkeypatch):
    code, text, error = run(monkeypatch, name, "--help")
    assert (code, error) == (0, "")
    assert max(map(len, text.splitlines())) <= 80
    assert " ".join(text.split()).endswith(EXIT_CODES)
    # The demo tells a path; its records are files in its folder.
    assert name == "demo" or re.search(r"^  --json  ", text, re.MULTILINE)
    # Whole in the list of commands, too.
    assert not GROUP.commands[name].get_short_help_str(45).endswith("...")
    for names, what in records(name):
        assert re.match(r"\w", what), f"{names} says nothing"
        if re.search(r"<(int|float)\b", names):
            assert RANGE.search(what), f"{names} has no range"


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_command_lines_that_parse(name):
    command = GROUP.commands[name]
    examples = re.findall(r"Example: `(.*?)`", command.help.replace("\n", " "))
    assert examples
    for example in examples:
        program, named, *words = shlex.split(example)
        assert (program, named) == ("uncollapse", name)
        command.make_context(name, words)


def test_an_option_has_one_type_wherever_it_is():
    # What a command takes several of, or of other things, is not the same option.
    other = {"--split", "--layer", "--downstream", "--fail-on", "--objective", "--rows"}
    other |= {"--label-noise"}
    types = {}
    for name in set(COMMANDS) - {"simulate"}:
        for names, _ in records(name):
            option, _, kind = names.partition(" <")
            if option not in other:
                types.setdefault(option, {}).setdefault(kind.replace(" range", ""), []).append(name)
    assert not {option: kinds for option, kinds in types.items() if len(kinds) > 1}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_option_names_the_right_one(name, monkeypatch):
    code, text, error = run(monkeypatch, name, "--hlep")
    assert (code, text) == (2, "")
    assert "--help" in error.split("Did you mean")[1]
    assert f"see uncollapse {name} --help" in error


def test_a_wrong_command_names_the_right_one(monkeypatch):
    code, text, error = run(monkeypatch, "mesure")
    assert (code, text) == (2, "")
    assert "Did you mean 'measure'?" in error


NO_FILE = "no/such/file"


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "--classes", 3, "--per-class", 4, "--alpha", 2, "--temperature", 1],
        ["simulate", "--classes", 3, "--per-class", 4, "--alpha", "x", "--temperature", 1],
        ["explore", "-o", "."],
        *(
            [name, NO_FILE, NO_FILE] if name == "compare" else [name, NO_FILE]
            for name in ("measure", "compare", "train", "embed", "probe", "pilot", "report")
        ),
    ],
    ids=lambda words: words[0],
)
def test_an_error_under_json_is_one_line_on_stderr(words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, text, error = run(monkeypatch, *words, "--json")
    assert (code, text) == (2, "")
    assert re.fullmatch(r"uncollapse: error: .+; found .+\n", error)
    assert not list(tmp_path.iterdir())


def test_an_interrupt_is_130_without_a_traceback(monkeypatch, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("uncollapse.cli.measure.Measurement.read", interrupted)
    code, text, error = run(monkeypatch, "compare", "a.json", "b.json")
    assert (code, text) == (130, "")
    assert "Traceback" not in error


def program(folder):
    """`uncollapse` as the installed script is, on the PATH of the environment returned."""
    script = folder / "uncollapse"
    script.write_text(f"#!{sys.executable}\nfrom uncollapse.cli import main\n\nmain()\n")
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_bash_completes_an_option(tmp_path):
    lines = """
        eval "$(_UNCOLLAPSE_COMPLETE=source_bash uncollapse)"
        COMP_WORDS=(uncollapse predict --temp); COMP_CWORD=2
        _uncollapse_completion uncollapse; echo "${COMPREPLY[@]}"
    """
    answer = subprocess.run(
        ["bash", "--norc", "-c", lines],
        env=program(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout == "--temperature\n", answer.stderr


def test_zsh_completes_a_command(tmp_path):
    asked = {"_UNCOLLAPSE_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "uncollapse mea"}
    answer = subprocess.run(
        ["uncollapse"], env=program(tmp_path) | asked, capture_output=True, text=True, check=False
    )
    assert '"measure":' in answer.stdout, answer.stderr

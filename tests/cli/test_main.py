"""The command as such: help, exit codes, messages, what it imports."""

import os
import subprocess
import sys
import warnings

import pytest

import skmer
from skmer.cli import _main, main
from skmer.exceptions import MediaError


@pytest.fixture
def failing(monkeypatch):
    """Make ``skmer doctor`` do something else."""
    from skmer.cli import _doctor

    def instead(work):
        monkeypatch.setattr(_doctor, "run", work)

    return instead


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"skmer {skmer.__version__}\n"


@pytest.mark.parametrize("command", [[], *[[name] for name in _main.COMMANDS]])
def test_help_teaches_within_the_screen(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"skmer {' '.join(command)}".strip() in text
    assert "skmer evaluate" in text if not command else "example:" in text
    assert max(map(len, text.splitlines())) <= 88


def test_help_is_quick():
    """Measured in imports, as seconds depend on who else works on the machine."""
    code = (
        "import sys; from skmer.cli import main; codes = [main(['--help']),"
        f" *[main([name, '--help']) for name in {_main.COMMANDS}]];"
        "heavy = {'torch', 'sklearn', 'pandas', 'numpy', 'av', 'cv2'} & {*sys.modules};"
        "assert not heavy and not any(codes), (heavy, codes)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments, told",
    [
        ([], "required: COMMAND"),
        (["docter"], "Did you mean doctor?"),
        (["doctor", "--jso"], "unknown option --jso. Did you mean --json"),
        (["doctor", "clips.csv"], "'clips.csv' is one argument too many"),
    ],
)
def test_wrong_usage(arguments, told, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert told in err and "--help`" in err and not out


def test_errors_are_told_without_traceback(failing, capsys):
    def work(args):
        error = MediaError("a.mp4", "audio", "it is cut off")
        error.add_note("With on_error='nan' it becomes a row of NaN.")
        raise error

    failing(work)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err == (
        "skmer doctor: error: a.mp4: cannot read its audio: it is cut off\n"
        "With on_error='nan' it becomes a row of NaN.\n"
        "(--debug shows where.)\n"
    )
    assert main(["doctor", "--debug"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and "in work" in err
    assert err.endswith(
        "skmer doctor: error: a.mp4: cannot read its audio: it is cut "
        "off\nWith on_error='nan' it becomes a row of NaN.\n"
    )


def test_unforeseen_errors_keep_their_name(failing, capsys):
    failing(lambda args: {}["clip"])
    assert main(["doctor"]) == 1
    assert "error: KeyError: 'clip'\n" in capsys.readouterr().err


def test_warnings_are_one_line_and_come_once(failing, capsys):
    def work(args):
        for _ in range(2):
            warnings.warn("a few\n   words", stacklevel=1)
            warnings.warn("of no use", DeprecationWarning, stacklevel=1)

    failing(work)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["doctor"]) == 0
        with pytest.raises(UserWarning):
            warnings.warn("as before", stacklevel=1)
    assert capsys.readouterr().err == "skmer doctor: warning: a few words\n"


def test_ctrl_c_says_that_the_run_goes_on(failing, capsys):
    def work(args):
        raise KeyboardInterrupt

    failing(work)
    assert main(["doctor"]) == 130
    assert "the same command goes on from there" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_results_that_cannot_be_printed_are_an_error():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "skmer", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("skmer: error: results cannot be printed: ")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("n_lines", [1, 10_000])
def test_gone_reader_is_no_error(unbuffered, n_lines):
    code = (
        "import sys; from skmer.cli import _console, _doctor, main;"
        f"_doctor.run = lambda args: _console.result({n_lines} * 'a line\\n');"
        "sys.exit(main(['doctor']))"
    )
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_lost_connections_are_errors(failing, capsys):
    def work(args):
        raise BrokenPipeError("the server hung up")

    failing(work)
    assert main(["doctor"]) == 1
    assert "the server hung up" in capsys.readouterr().err

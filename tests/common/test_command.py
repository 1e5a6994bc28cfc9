import logging
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from localblur.common.command import (
    EXIT_LOSSES,
    EXIT_PIPE,
    Command,
    Group,
    device_option,
    one_line,
    output_option,
    overwrite_option,
    seed_option,
    settings_options,
    workers_options,
)
from localblur.common.errors import LocalblurError


@pytest.fixture(autouse=True)
def restored_process_state():
    handler, handlers = signal.getsignal(signal.SIGTERM), list(logging.getLogger().handlers)
    yield
    signal.signal(signal.SIGTERM, handler)
    logging.getLogger().handlers[:] = handlers


@click.group(cls=Group)
def main():
    """Commands that end in every way."""


@main.command()
@click.argument("kind")
@click.pass_context
def end(ctx, kind):
    """End as KIND says."""
    if kind == "error":
        raise LocalblurError("width is 3\n  but must be 4;\tresize it")
    if kind == "os":
        raise PermissionError(13, "Permission denied", "/root/a.h5")
    if kind == "read-only":
        raise OSError(30, "Read-only file system", "/mnt/a.h5")
    if kind == "large":
        raise OSError(27, "File too large", "a.h5")
    if kind == "gone":
        raise FileNotFoundError(2, "No such file or directory", "tree/b.png")
    if kind == "device":
        raise OSError(5, "Input/output error", "a.h5")
    if kind == "memory":
        raise MemoryError
    if kind == "bug":
        raise ZeroDivisionError("a bug")
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "full":
        with Path("/dev/full").open("w") as file:
            file.write("x")
    if kind == "losses":
        ctx.exit(EXIT_LOSSES)
    click.echo("done")


@pytest.mark.parametrize(
    ("kind", "code", "line"),
    [
        ("error", 1, "end: error: width is 3 but must be 4; resize it\n"),
        ("device", 1, "end: error: [Errno 5] Input/output error: 'a.h5'\n"),
        ("memory", 1, "end: error: not enough memory; use fewer --workers or smaller tiles\n"),
        ("interrupt", 130, "end: interrupted; what was finished is kept\n"),
        ("losses", 3, ""),
        ("fine", 0, ""),
    ],
)
def test_failures_are_one_line_and_the_documented_code(kind, code, line):
    result = CliRunner().invoke(main, ["end", kind])
    assert (result.exit_code, result.stderr) == (code, line)


@pytest.mark.parametrize(
    ("kind", "file", "remedy"),
    [
        ("os", "/root/a.h5", "change its rights or those of its folder, or choose another place"),
        ("read-only", "/mnt/a.h5", "choose a place that can be written"),
        ("large", "a.h5", "choose a disk that takes larger files"),
        ("gone", "tree/b.png", "check the path and run again"),
    ],
)
def test_what_the_system_says_of_a_file_becomes_the_file_and_a_remedy(kind, file, remedy):
    result = CliRunner().invoke(main, ["end", kind])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"end: error: {file}")
    assert remedy in result.stderr
    assert "Errno" not in result.stderr
    assert len(result.stderr.splitlines()) == 1


TALKER = """
    import click
    from localblur.common.command import Command

    @click.command(cls=Command)
    def main():
        for number in range(200_000):
            click.echo("a line of some length")

    main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_ends_a_command_without_a_word(unbuffered):
    command = [sys.executable, "-c", textwrap.dedent(TALKER)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": unbuffered}
    ) as process:
        assert process.stdout.readline() == b"a line of some length\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == EXIT_PIPE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_put_in_words():
    result = CliRunner().invoke(main, ["end", "full"])
    assert result.exit_code == 1
    assert result.stderr.startswith("end: error: the disk is full")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["end"], ["end", "fine", "--no-such-option"], ["nothing"]])
def test_wrong_usage_is_2(arguments):
    assert CliRunner().invoke(main, arguments).exit_code == 2


def test_debug_shows_the_traceback():
    result = CliRunner().invoke(main, ["end", "error", "--debug"])
    assert isinstance(result.exception, LocalblurError)


def test_a_bug_is_not_hidden():
    assert isinstance(CliRunner().invoke(main, ["end", "bug"]).exception, ZeroDivisionError)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_stop_closes_well_and_is_130(number):
    script = """
        import time, click
        from localblur.common.command import Command

        @click.command(cls=Command)
        def main():
            try:
                print("working", flush=True)
                time.sleep(60)
            finally:
                print("closed", flush=True)

        main()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "closed\n")
    assert len(err.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_that_arrives_in_a_finaliser_is_not_lost(number):
    script = f"""
        import os, time, click
        from localblur.common.command import Command

        class Thing:
            def __del__(self):
                os.kill(os.getpid(), {int(number)})

        @click.command(cls=Command)
        def main():
            Thing()
            time.sleep(60)

        main()
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=30)
    assert ended.returncode == 130
    assert len(ended.stderr.splitlines()) == 1


def test_shared_options_arrive_under_their_names():
    @click.command(cls=Command)
    @output_option("Where to write.")
    @settings_options
    @workers_options
    @seed_option()
    @device_option
    @overwrite_option
    def work(**values):
        click.echo(repr(sorted(values.items())))

    arguments = [
        "-o",
        "out",
        "--set",
        "a.b=1",
        "--set",
        "c=2",
        "--workers",
        "3",
        "--seed",
        "4",
        "--device",
        "cpu",
        "--overwrite",
    ]
    result = CliRunner().invoke(work, arguments)
    assert result.exit_code == 0
    assert result.output.strip() == repr(
        [
            ("config", None),
            ("device", "cpu"),
            ("output", Path("out")),
            ("overrides", ("a.b=1", "c=2")),
            ("overwrite", True),
            ("scheduler", None),
            ("seed", 4),
            ("workers", 3),
        ]
    )
    assert CliRunner().invoke(work, []).exit_code == 2


@pytest.mark.parametrize("bad", [["--workers", "-1"], ["--seed", "-1"], ["--workers", "two"]])
def test_impossible_values_of_shared_options_are_wrong_usage(bad):
    @click.command(cls=Command)
    @workers_options
    @seed_option()
    def work(**values):
        pass

    assert CliRunner().invoke(work, bad).exit_code == 2


def test_an_error_without_a_message_still_says_something():
    assert one_line(OSError()) == "OSError"

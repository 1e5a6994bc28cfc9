"""What all commands share: exit codes, one-line errors, `--debug`, and options that mean the same everywhere."""

import errno
import logging
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, TextIO, TypeVar

import click

from localblur.common.errors import LocalblurError
from localblur.common.parallel import default_workers

_DEBUG = "localblur.debug"

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_LOSSES = 3
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141
"""128 + SIGPIPE: how a shell reports a program that wrote to a pipe nobody reads."""

SYSTEM_WORDS = {
    getattr(errno, "EDQUOT", errno.ENOSPC): "the disk quota is used up ({file}); free some space and run again",
    errno.ENOSPC: "the disk is full ({file}); free some space and run again: what was finished is kept",
    errno.EFBIG: (
        "{file} would become larger than a file may be here; choose a disk that takes larger files (FAT: 4 GB),"
        " or raise ulimit -f"
    ),
    errno.EROFS: "{file} is on a read-only file system; choose a place that can be written",
    errno.EACCES: "{file}: permission denied; change its rights or those of its folder, or choose another place",
    errno.EPERM: "{file}: the system does not permit it; change its rights, or choose another place",
    errno.ENAMETOOLONG: "{file}: the name is too long for the file system; choose a shorter one",
    errno.ENOENT: "{file} does not exist, or its folder does not (any more); check the path and run again",
}
"""What the system says of a file, with a remedy."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Number = TypeVar("Number", int, float)


class Command(click.Command):
    """A click command whose failures are one line and a documented exit code; `--debug` shows tracebacks.

    Exit codes: 0 done, 1 error, 2 usage, 3 finished with losses or rejects above the limit, 130 interrupted,
    141 whoever read the output has left (`| head`).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                callback=_remember_debug,
                help="Show tracebacks and debug messages.",
            )
        )

    def invoke(self, ctx: click.Context) -> Any:
        debug = bool(ctx.meta.get(_DEBUG))
        logging.basicConfig(
            level=logging.DEBUG if debug else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
        )
        if threading.current_thread() is threading.main_thread():
            # a supervisor's polite stop is treated like Ctrl-C: outputs are closed well
            signal.signal(signal.SIGTERM, _interrupt)
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                signal.signal(signal.SIGINT, _interrupt)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo(f"{ctx.info_name}: interrupted; what was finished is kept", err=True)
            ctx.exit(EXIT_INTERRUPTED)
        except (LocalblurError, OSError, MemoryError) as error:
            if isinstance(error, OSError) and _reader_left(error):
                ctx.exit(EXIT_PIPE)
            if debug:
                raise
            click.echo(f"{ctx.info_name}: error: {one_line(error)}", err=True)
            ctx.exit(EXIT_ERROR)


class Group(click.Group):
    """A group of commands; each is a `Command`."""

    command_class = Command


def one_line(error: BaseException) -> str:
    """The message of `error` as one line; what the system says of files, and lack of memory, are put in words."""
    if isinstance(error, OSError) and error.errno in SYSTEM_WORDS:
        words = SYSTEM_WORDS[error.errno]
        if error.filename is not None or error.errno in (errno.ENOSPC, errno.EFBIG):
            return words.format(file=error.filename or "output")
    if isinstance(error, MemoryError):
        return "not enough memory; use fewer --workers or smaller tiles"
    return " ".join(str(error).split()) or type(error).__name__


def parse_range(value: str, number: Callable[[str], Number]) -> tuple[Number, Number]:
    """`20` or `3..40` as the smallest and the largest; a `ValueError` of `number` where it is neither."""
    first, dots, last = value.partition("..")
    return number(first), number(last if dots else first)


def output_option(help_text: str, *, required: bool = True) -> Callable[[Decorated], Decorated]:
    """`--output/-o PATH`."""
    return click.option("--output", "-o", type=click.Path(path_type=Path), required=required, help=help_text)


def settings_options(function: Decorated) -> Decorated:
    """`--config FILE` and repeatable `--set a.b=value`; handed over as `config` and `overrides`."""
    function = click.option(
        "--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Override one setting, for example a.b=3."
    )(function)
    return click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="YAML file with settings.")(
        function
    )


def workers_options(function: Decorated) -> Decorated:
    """`--workers N` and `--scheduler tcp://...`."""
    function = click.option(
        "--scheduler", metavar="ADDRESS", help="Run tasks on a Dask cluster, e.g. tcp://host:8786."
    )(function)
    return click.option(
        "--workers", type=click.IntRange(min=0), default=default_workers, show_default="cores", help="Worker processes."
    )(function)


def seed_option(default: int = 0) -> Callable[[Decorated], Decorated]:
    """`--seed N`; the seed is stored with the output."""
    return click.option(
        "--seed", type=click.IntRange(min=0), default=default, show_default=True, help="Seed of every random choice."
    )


def device_option(function: Decorated) -> Decorated:
    """`--device auto|cpu|cuda|...`."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        help="auto, cpu, cuda or cuda:N; auto takes a GPU if there is one.",
    )(function)


def overwrite_option(function: Decorated) -> Decorated:
    """`--overwrite`; without it an existing output is never replaced."""
    return click.option("--overwrite", is_flag=True, help="Replace an existing output.")(function)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; where it would be lost, try again a little later.

    Python prints and forgets exceptions raised in weakref callbacks and finalisers, and h5py runs many of those: often
    a Ctrl-C during writing had no effect.
    """
    while frame is not None:
        if frame.f_code.co_filename == weakref.__file__ or frame.f_code.co_name == "__del__":
            threading.Timer(0.01, _signal_main_thread, [number]).start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _signal_main_thread(number: int) -> None:
    if sys.platform == "win32":
        signal.raise_signal(number)
    else:  # directed at the main thread, it also ends a sleep or a wait there
        signal.pthread_kill(threading.main_thread().ident or 0, number)


def _reader_left(error: OSError) -> bool:
    """Whether nobody reads the output any more; if so, what is left of it is thrown away instead of failing again."""
    told = (errno.EPIPE, errno.EINVAL) if os.name == "nt" else (errno.EPIPE,)
    if error.filename is not None or error.errno not in told:
        return False
    closed = [stream for stream in (sys.stdout, sys.stderr) if stream is not None and not _flushes(stream)]
    for stream in closed:
        with suppress(OSError, ValueError):  # a stream without a descriptor has nothing to be redirected
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, stream.fileno())
            os.close(sink)
    return bool(closed) or error.errno == errno.EPIPE


def _flushes(stream: TextIO) -> bool:
    try:
        stream.flush()
    except (OSError, ValueError):
        return False
    return True


def _remember_debug(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
    ctx.meta[_DEBUG] = value

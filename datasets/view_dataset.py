"""Command `view-dataset`: look through a pairs file in the browser, decide about pairs, mend masks."""

import importlib.util
import logging
import secrets
import socket
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localblur.common.command import Command
from localblur.common.errors import LocalblurError
from localblur.datasets.storage.edits import check_user, default_user, edits_path
from localblur.datasets.view.state import Curation

if TYPE_CHECKING:
    import uvicorn

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
NEEDED = ("starlette", "uvicorn")
INSTALL = "view-dataset needs the view extra; install it with: pip install 'localblur[view]'"


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default="any free one", help="Port to listen on."
)
@click.option("--browser/--no-browser", default=True, help="Open the page in the browser.", show_default=True)
@click.option("--read-only", is_flag=True, help="Look only; also while somebody else edits.")
@click.option("--user", metavar="NAME", help="Who decides; stored with every change.  [default: your user name]")
def main(file: Path, port: int, browser: bool, read_only: bool, user: str | None) -> None:
    """Look through the pairs of FILE in the browser: sort, filter, compare, decide, mend masks.

    The page is served on this machine only, behind a secret address. Every change is written at once to the edits
    journal FILE.edits.jsonl; FILE itself is never touched. All commands honour the edits; `pairs-file fold-edits` puts
    them into FILE. Press ? on the page for its keys, Ctrl-C here to end.

    \b
    Example:
      view-dataset pairs.h5
      view-dataset pairs.h5 --read-only --no-browser --port 8000
    """
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise LocalblurError(INSTALL)
    name = None if read_only else check_user(user) if user is not None else default_user()
    with Curation(file, name) as curation, listen(port) as listener:
        token, ticket = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        page = f"http://{HOST}:{listener.getsockname()[1]}/?token="
        how = "looking only" if name is None else f"edits by {name} go to {edits_path(file).name}"
        click.echo(f"{file}: {len(curation.places)} pairs, {how}")
        click.echo(f"open {page}{token}  (Ctrl-C ends)")
        server = make_server(curation, listener, token, ticket if browser else None)
        if browser:
            webbrowser.open(page + ticket)  # the socket listens already: the browser waits for the server
        try:
            with quiet_end(server):
                server.run(sockets=[listener])
        except KeyboardInterrupt:  # the usual way to end it
            logger.debug("interrupted")
    click.echo(f"closed; {_summary(file)}" if name else "closed")


def make_server(curation: Curation, listener: socket.socket, token: str, ticket: str | None = None) -> "uvicorn.Server":
    """The server of the page of `curation`, to be run on `listener`, a socket of the loopback interface.

    `token` is the secret of the page's address, `ticket` one that works once; see `Guard`.
    """
    import uvicorn

    from localblur.datasets.view.app import build_app

    config = uvicorn.Config(
        build_app(curation, token, listener.getsockname()[1], ticket),
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        loop="asyncio",
        http="h11",
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


@contextmanager
def quiet_end(server: "uvicorn.Server") -> Iterator[None]:
    """Say nothing of requests that are cut off by the end of the server: it is what the user asked for."""

    def wanted(_record: logging.LogRecord) -> bool:
        return not server.should_exit

    errors = logging.getLogger("uvicorn.error")
    errors.addFilter(wanted)
    try:
        yield
    finally:
        errors.removeFilter(wanted)


def listen(port: int) -> socket.socket:
    """A socket that listens on `port` of the loopback interface, 0 for any free one."""
    listener = socket.socket()
    try:
        listener.bind((HOST, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise LocalblurError(
            f"cannot listen on port {port}: {error.strerror}; choose another --port, or leave it out"
        ) from error
    return listener


def _summary(file: Path) -> str:
    journal = edits_path(file)
    if not journal.exists():
        return "nothing was changed"
    return f"the edits are in {journal}; `pairs-file fold-edits {file}` puts them into the file"

import logging

import pytest
from click.testing import CliRunner

from localblur.datasets import view_dataset
from localblur.datasets.view_dataset import main

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import uvicorn
from page_server import PageServer


@pytest.fixture
def path(tmp_path, make_pair, make_file):
    members = [make_pair(name=f"{n}") for n in range(3)]
    return make_file(tmp_path / "a.h5", {"train": members, "test": [make_pair("s2", size=(40, 50))]})


@pytest.fixture
def page(path):
    with PageServer(path) as running:
        yield running


def test_the_command_says_how_to_get_what_is_missing(path, monkeypatch):
    monkeypatch.setattr(view_dataset, "NEEDED", ("no_such_package_anywhere",))
    result = CliRunner().invoke(main, [str(path)])
    assert result.exit_code == 1
    assert result.stderr == (
        "main: error: view-dataset needs the view extra; install it with: pip install 'localblur[view]'\n"
    )


def test_the_command_refuses_in_one_line(path, page, tmp_path):
    for arguments, complaint in (
        ([str(tmp_path / "none.h5")], "does not exist"),
        ([str(path)], "look with --read-only"),
        ([str(path), "--user", "auto"], "cannot be stored"),
        ([str(path), "--read-only", "--port", str(page.port)], "choose another --port"),
    ):
        result = CliRunner().invoke(main, [*arguments, "--no-browser"])
        assert result.exit_code == 1
        assert complaint in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_the_command_serves_until_it_is_interrupted(path, monkeypatch):
    opened = []

    class Interrupted:
        def run(self, sockets):
            raise KeyboardInterrupt

    monkeypatch.setattr(view_dataset, "make_server", lambda *_: Interrupted())
    monkeypatch.setattr(view_dataset.webbrowser, "open", opened.append)
    result = CliRunner().invoke(main, [str(path), "--user", "kim"])
    assert result.exit_code == 0, result.output
    assert opened[0].startswith("http://127.0.0.1:")
    assert opened[0] not in result.stdout  # other users see the arguments of a browser: that address works once
    assert "4 pairs, edits by kim go to a.h5.edits.jsonl" in result.stdout
    assert "nothing was changed" in result.stdout
    assert [entry.name for entry in path.parent.iterdir()] == ["a.h5"]


def test_requests_cut_off_by_the_end_are_not_complained_of_others_are(caplog):
    server = uvicorn.Server(uvicorn.Config(lambda _: None, log_config=None))
    log = logging.getLogger("uvicorn.error")
    with view_dataset.quiet_end(server):
        log.error("a bug")
        server.should_exit = True
        log.error("cut off")
    log.error("another server's")
    assert [record.message for record in caplog.records] == ["a bug", "another server's"]

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import av
import pytest

from localblur.common.errors import LocalblurError
from localblur.common.files import (
    atomic_path,
    ensure_space,
    inside,
    read_json,
    refuse_existing,
    sync_folder,
    write_json,
    write_text,
)


def test_a_failure_keeps_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("good")
    with pytest.raises(RuntimeError, match="half way"), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("half way")
    assert path.read_text() == "good"
    assert list(tmp_path.iterdir()) == [path]


def test_success_replaces_the_file_and_keeps_the_suffix_for_writers_that_look_at_it(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("old")
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_of_the_system_name_the_file_and_not_the_temporary_one(tmp_path):
    path = tmp_path / "gone" / "a.txt"
    with pytest.raises(FileNotFoundError) as caught:
        write_text(path, "text")
    assert caught.value.filename == str(path)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_kill_in_mid_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("good")
    script = f"""
        from pathlib import Path
        import time
        from localblur.common.files import atomic_path
        with atomic_path(Path({str(path)!r})) as temporary:
            temporary.write_text("half")
            print("writing", flush=True)
            time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    assert path.read_text() == "good"


def test_json_round_trip_and_bad_values(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"name": "Köhler", "values": [1, 2.5], "path": Path("x")})
    assert read_json(path) == {"name": "Köhler", "values": [1, 2.5], "path": "x"}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"value": float("nan")})
    assert read_json(path)["name"] == "Köhler"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xff"])
def test_unreadable_json_names_the_file(tmp_path, content):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(LocalblurError, match=r"cannot read .*bad\.json"):
        read_json(path)


def test_missing_json_names_the_file(tmp_path):
    with pytest.raises(LocalblurError, match=r"cannot read .*none\.json"):
        read_json(tmp_path / "none.json")


def test_text_has_unix_line_ends_everywhere(tmp_path):
    write_text(tmp_path / "a.txt", "1\n2\n")
    assert (tmp_path / "a.txt").read_bytes() == b"1\n2\n"


def test_work_that_cannot_fit_is_refused_before_it_starts(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(LocalblurError, match="aligning needs about .* GB but only .* GB are free"):
        ensure_space(tmp_path / "not" / "yet", free, "aligning")
    ensure_space(tmp_path / "not" / "yet", 1, "aligning")


@pytest.mark.parametrize("relative", ["../b", "a/../../b", "/etc/passwd", ".."])
def test_a_path_that_leaves_its_folder_is_refused(tmp_path, relative):
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(LocalblurError, match="leaves its folder"):
        inside(root, relative)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_that_leaves_its_folder_is_refused(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(LocalblurError, match="leaves its folder"):
        inside(root, "link/secret")


def test_a_path_inside_is_joined(tmp_path):
    assert inside(tmp_path, "a/../b.png") == (tmp_path / "b.png").resolve()


def test_an_existing_output_is_refused_unless_overwritten(tmp_path):
    path = tmp_path / "a"
    refuse_existing(path, overwrite=False)
    path.write_text("x")
    refuse_existing(path, overwrite=True)
    with pytest.raises(LocalblurError, match="--overwrite"):
        refuse_existing(path, overwrite=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps("good"))
    with pytest.raises(OSError, match="No space left"), atomic_path(path) as temporary:
        temporary.symlink_to("/dev/full")
        with temporary.open("w") as file:
            file.write("x")
            file.flush()
            os.fsync(file.fileno())
    assert read_json(path) == "good"
    assert list(tmp_path.iterdir()) == [path]


def test_syncing_a_folder_tolerates_a_file_system_that_refuses_but_not_a_failing_disk(tmp_path, monkeypatch):
    sync_folder(tmp_path)
    sync_folder(tmp_path / "missing")

    def failing(number):
        def fsync(_):
            raise OSError(number, os.strerror(number))

        return fsync

    monkeypatch.setattr(os, "fsync", failing(errno.EINVAL))
    sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    if hasattr(os, "O_DIRECTORY"):
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            sync_folder(tmp_path)


LONG_NAME = "写" * 82 + ".png"
"""250 of the 255 bytes that a name may have."""


def test_the_longest_names_can_be_written_and_do_not_clash(tmp_path):
    one, other = tmp_path / LONG_NAME, tmp_path / f"真{LONG_NAME[1:]}"
    with atomic_path(one) as first, atomic_path(other) as second:
        assert first != second
        assert {first.parent, second.parent, first.suffix, second.suffix} == {tmp_path, ".png"}
        first.write_text("one")
        second.write_text("other")
    assert (one.read_text(), other.read_text()) == ("one", "other")


def test_a_name_that_no_file_can_have_does_not_exist(tmp_path):
    refuse_existing(tmp_path / f"much longer {LONG_NAME}", overwrite=False)


def test_an_error_whose_name_cannot_be_set_is_told_with_the_files_name(tmp_path):
    with pytest.raises(OSError, match="File too large") as caught, atomic_path(tmp_path / "a.mp4") as temporary:
        raise av.error.OSError(errno.EFBIG, "File too large", str(temporary))
    assert caught.value.filename == str(tmp_path / "a.mp4")
    assert caught.value.errno == errno.EFBIG

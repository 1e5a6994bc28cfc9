"""A recording that was closed well."""

import pytest
from written_recordings import GROUP, commit, manifest

from localblur.datasets.recording import RecordingWriter


@pytest.fixture
def recorded(tmp_path):
    """A recording with three pairs, closed well."""
    writer = RecordingWriter.create(tmp_path / "recording", manifest())
    journal = writer.journal(GROUP)
    journal.start({"count": 3})
    commit(journal, 3)
    journal.stop("complete")
    writer.close("complete")
    return writer.folder

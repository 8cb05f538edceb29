"""A directory is read again after a change, and no more often."""

from pathlib import Path

import pytest

from ledger.system.directory_watch import Reread


def test_a_directory_is_read_once_until_it_changes_and_a_failed_reading_changes_nothing(
    tmp_path: Path,
) -> None:
    readings: list[str] = []

    def read() -> str:
        found = "".join(sorted(path.read_text() for path in tmp_path.iterdir()))
        readings.append(found)
        if "broken" in found:
            raise ValueError("half of it")
        return found

    (tmp_path / "one").write_text("1")
    watched = Reread(tmp_path, read)
    assert [watched.current for _ in range(3)] == ["1"] * 3
    assert readings == ["1"]
    half = tmp_path / "two"
    half.write_text("broken")
    assert watched.current == "1"
    half.write_text("2")  # the directory's own time of change stays
    assert watched.current == watched.current == "12"
    assert len(readings) == 3
    (tmp_path / "one").unlink()
    assert watched.current == "2"
    half.write_text("broken")
    with pytest.raises(ValueError, match="half"):
        Reread(tmp_path, read)

import pytest

from pipelines.ingest.sources import find_sources
from storage_schemas.store import Store


@pytest.fixture
def footage(tmp_path):
    folder = tmp_path / "footage"
    store = Store(folder)
    store.write("b.mp4", b"bb")
    store.write("a.mov", b"a")
    store.write("deep/er/c.webm", b"c")
    store.write("-dash.mp4", b"-")
    (folder / ".hidden").write_bytes(b"h")
    return folder


def names(sources):
    return [source.uri.rsplit("/", 1)[1] for source in sources]


def test_a_folder_is_searched_deeply_in_a_fixed_order(footage):
    assert names(find_sources([footage])) == ["-dash.mp4", "a.mov", "b.mp4", "c.webm"]


def test_files_globs_and_repeats_name_each_file_once(footage):
    places = [footage / "b.mp4", f"{footage}/*.m*", f"{footage}/**/*.webm"]
    assert names(find_sources(places)) == ["-dash.mp4", "a.mov", "b.mp4", "c.webm"]


def test_relative_names_with_a_dash_work(footage, monkeypatch):
    monkeypatch.chdir(footage)
    sources = find_sources(["-dash.mp4"])
    assert sources[0].local_path().read_bytes() == b"-"


def test_a_list_gives_paths_and_licences(footage):
    listed = footage / "list.csv"
    listed.write_text("path,licence\nb.mp4,CC-BY-4.0\na.mov,\n")
    sources = find_sources([listed], licence="MIT")
    assert [(s.uri.rsplit("/", 1)[1], s.licence) for s in sources] == [
        ("a.mov", "MIT"),
        ("b.mp4", "CC-BY-4.0"),
    ]
    listed.write_text("file\nb.mp4\n")
    with pytest.raises(ValueError, match="column named path"):
        find_sources([listed])


def test_equal_content_is_a_duplicate_of_the_first(footage):
    (footage / "z.mp4").write_bytes(b"bb")
    last = find_sources([footage])[-1]
    assert last.duplicate_of.endswith("b.mp4")


def test_a_place_that_names_nothing_is_refused_and_a_missing_file_is_kept_for_the_count(footage):
    with pytest.raises(ValueError, match="names no files"):
        find_sources([f"{footage}/*.avi"])
    missing = find_sources([footage / "gone.mp4"])
    assert (names(missing), missing[0].sha256) == (["gone.mp4"], "")

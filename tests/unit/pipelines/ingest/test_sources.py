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


def test_a_list_reaches_only_its_own_folder_and_what_is_allowed(footage, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.mp4").write_bytes(b"x")
    (footage / "link.mp4").symlink_to(elsewhere / "x.mp4")
    listed = footage / "list.csv"
    outside = [
        "/etc/passwd",
        "../elsewhere/x.mp4",
        "link.mp4",
        "s3://bucket/a.mp4",
        "s3://mine/../bucket/a.mp4",
        "http://127.0.0.1/a.mp4",
        "file:///etc/passwd",
    ]
    listed.write_text("path\n" + "\n".join(["b.mp4", *outside]) + "\n")
    sources = find_sources([listed], allowed=["s3://mine"])
    refused = [source for source in sources if source.refused]
    assert len(refused) == len(outside)
    assert all(source.sha256 == "" for source in refused)  # not even opened
    assert names([s for s in sources if not s.refused]) == ["b.mp4"]
    listed.write_text("path\n../elsewhere/x.mp4\n")
    (source,) = find_sources([listed], allowed=[str(elsewhere)])
    assert not source.refused


def test_parquet_lists_carry_licence_and_caption(footage):
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table(
        {"path": ["b.mp4", "a.mov"], "licence": [None, "MIT"], "caption": ["a man walks", None]}
    )
    parquet.write_table(table, footage / "list.parquet")
    first, second = find_sources([footage / "list.parquet"])
    assert (second.licence, second.caption) == ("unknown", "a man walks")
    assert (first.licence, first.caption) == ("MIT", "")
    (footage / "list.parquet").write_bytes(b"no parquet")
    with pytest.raises(ValueError, match=r"list\.parquet is no parquet file"):
        find_sources([footage / "list.parquet"])

import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage_schemas.file_cache import FileCache

REPOSITORY = Path(__file__).parents[3]
HOLDER = """
import sys
from pathlib import Path
from storage_schemas.file_cache import FileCache
cache = FileCache(Path(sys.argv[1]), 1000)
cache.fetch("aa", "a.tar", 400, lambda path: path.write_bytes(bytes(400)), keep=True)
print("held", flush=True)
sys.stdin.read()
"""


def name_of(number):
    return hashlib.sha256(b"%d" % number).hexdigest()


@pytest.fixture
def cache(tmp_path):
    return FileCache(tmp_path / "cache", 1000)


def put(cache, name, size=400, **options):
    return cache.fetch(
        name, f"{name[:4]}.tar", size, lambda path: path.write_bytes(bytes(size)), **options
    )


def used(cache, path, at_s):
    os.utime(path, (at_s, at_s))


def test_the_least_recently_used_go_first_and_the_limit_holds(cache):
    first, second = put(cache, "aa"), put(cache, "bb")
    used(cache, second, 1000)
    put(cache, "aa")  # used again
    third = put(cache, "cc")
    assert (first.exists(), second.exists(), third.exists()) == (True, False, True)
    sizes = [path.stat().st_size for path in cache.folder.glob("*/*.tar")]
    assert sum(sizes) <= cache.limit_bytes


def test_a_file_is_downloaded_once_by_all_who_ask_at_the_same_time(cache):
    calls = []

    def download(path):
        calls.append(path)
        time.sleep(0.05)
        path.write_bytes(b"x")

    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: cache.fetch("aa", "f", 1, download), range(8)))
    assert len(calls) == len(set(paths)) == 1


def test_a_failed_download_leaves_nothing(cache):
    def download(path):
        path.write_bytes(b"half")
        raise ConnectionError("cut")

    with pytest.raises(ConnectionError):
        cache.fetch("aa", "f", 4, download)
    assert not cache.has("aa")
    assert [path for path in (cache.folder / "aa").iterdir() if path.is_file()] == []
    assert cache.fetch("aa", "f", 4, lambda path: path.write_bytes(b"good")).read_bytes() == b"good"


def test_what_a_living_process_keeps_is_never_removed(cache):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(cache.folder)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        held = cache.folder / "aa/a.tar"
        used(cache, held, 1000)  # the oldest
        put(cache, "bb")
        put(cache, "cc")
        assert held.exists()
        with pytest.raises(OSError, match="ISA4D_CACHE_GB"):
            put(cache, "dd", 700)
        holder.kill()  # the lock goes with the process
    put(cache, "dd", 700)
    assert not held.exists()


def test_many_processes_share_a_folder(cache):
    script = """
import sys
from pathlib import Path
from storage_schemas.file_cache import FileCache
cache = FileCache(Path(sys.argv[1]), 3000)
for number in range(40):
    name = f"{number % 7:02x}"
    path = cache.fetch(name, "f", 300, lambda path: path.write_bytes(name.encode() * 150))
    assert path.read_bytes() == name.encode() * 150
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", script, str(cache.folder)]
    workers = [subprocess.Popen(command, env=environment) for _ in range(4)]
    assert [worker.wait(60) for worker in workers] == [0] * 4
    assert len(list(cache.folder.glob("*/f"))) == 7


@pytest.mark.parametrize("text", ["0", "-1", "many"])
def test_a_size_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv("ISA4D_CACHE_GB", text)
    with pytest.raises(ValueError, match="ISA4D_CACHE_GB"):
        FileCache.from_environment()

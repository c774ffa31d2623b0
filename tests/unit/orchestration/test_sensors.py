"""New footage, in a folder or under an S3 prefix, becomes runs once, and once it rests."""

import boto3
import dagster as dg
import pytest
from moto.server import ThreadedMotoServer

from orchestration.assets.footage import footage_clips, footage_sources, labels
from orchestration.partitions import footage_batches
from orchestration.resources import Workspace
from orchestration.sensors import new_footage

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::dagster.PreviewWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Dagster's event log on SQLite
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def instance(tmp_path):
    with dg.instance_for_test(temp_dir=str(tmp_path)) as found:
        yield found


def watch(instance, tmp_path, place):
    """A workspace, and a function that lets the sensor look once."""
    root = str(tmp_path / "root")
    workspace, cursor = Workspace(root=root, runs=root, footage=place), None

    def look():
        nonlocal cursor
        context = dg.build_sensor_context(instance, cursor, resources={"workspace": workspace})
        found = new_footage(context)
        cursor = found.cursor if isinstance(found, dg.SensorResult) else context.cursor
        return found

    return workspace, look


def test_without_a_place_to_watch_the_way_to_name_one_is_said(instance, tmp_path):
    _, look = watch(instance, tmp_path, "")
    assert "ISA4D_FOOTAGE" in look().skip_message


def test_new_files_in_a_folder_become_a_run_once_they_rest(instance, tmp_path):
    folder = tmp_path / "inbox"
    folder.mkdir()
    _, look = watch(instance, tmp_path, str(folder))
    assert isinstance(look(), dg.SkipReason)  # an empty folder
    (folder / "a.mp4").write_bytes(b"half")
    assert isinstance(look(), dg.SkipReason)  # seen for the first time
    (folder / "a.mp4").write_bytes(b"whole now")
    assert isinstance(look(), dg.SkipReason)  # still changing
    found = look()
    (request,) = found.run_requests
    assert request.partition_key == request.run_key
    (added,) = found.dynamic_partitions_requests
    assert list(added.partition_keys) == [request.partition_key]
    assert isinstance(look(), dg.SkipReason)  # nothing new
    (folder / "b.mp4").write_bytes(b"another")
    look()
    (other,) = look().run_requests
    assert other.partition_key != request.partition_key


@pytest.fixture
def bucket(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
    client = boto3.client("s3")
    client.create_bucket(Bucket="inbox")
    yield client
    server.stop()


def test_new_objects_under_a_prefix_become_a_run_that_reads_them(instance, tmp_path, bucket):
    workspace, look = watch(instance, tmp_path, "s3://inbox/new")
    bucket.put_object(Bucket="inbox", Key="elsewhere/z.mp4", Body=b"not watched")
    assert isinstance(look(), dg.SkipReason)  # nothing under the prefix
    bucket.put_object(Bucket="inbox", Key="new/a.mp4", Body=b"no video")
    assert isinstance(look(), dg.SkipReason)  # seen for the first time
    (request,) = look().run_requests
    assert isinstance(look(), dg.SkipReason)  # nothing new
    instance.add_dynamic_partitions(str(footage_batches.name), [request.partition_key])
    result = dg.materialize(
        [footage_sources, footage_clips, labels],
        selection=[footage_clips],
        partition_key=request.partition_key,
        resources={"workspace": workspace},
        instance=instance,
    )
    (event,) = result.asset_materializations_for_node("footage_clips")
    assert event.metadata["inputs"].value == 1
    assert "not_a_video" in event.metadata["reasons"].value
    bucket.put_object(Bucket="inbox", Key="new/b.mp4", Body=b"another")
    look()
    (other,) = look().run_requests
    assert other.partition_key != request.partition_key

"""What is wrong with one file costs the clips that use it, with a reason, and no other."""

import json
import shutil

import numpy as np
import pytest

from orchestration.cli import main
from pipelines import h264
from pipelines.run import read_results
from pipelines.synthetic import produce
from pipelines.synthetic.camera_path import OutOfFrame
from pipelines.synthetic.truth import Hidden
from storage_schemas.store import Store

LINE = "render --count 6 --frames 2 --size 32 --camera static --json --root data"
TORN_BVH = "HIERARCHY\nROOT Hips\n{\n OFFSET 0 0 0\n CHANNELS 6 Xposition"


def torn_bvh(folder):
    (folder / "torn.bvh").write_text(TORN_BVH)


def short_bvh(folder):
    """A recording cut in the middle of its motion."""
    (whole,) = folder.glob("whole*.bvh")
    text = whole.read_text()
    (folder / "short.bvh").write_text(text[: text.index("Frame Time") + 4000])


def amass_without_rate(folder):
    np.savez(folder / "slow.npz", poses=np.zeros((9, 156)), trans=np.zeros((9, 3)))


def amass_with_nan(folder):
    poses = np.zeros((9, 156))
    poses[4, 3] = np.nan
    np.savez(folder / "nan.npz", poses=poses, trans=np.zeros((9, 3)), mocap_framerate=60.0)


def amc_without_asf(folder):
    (folder / "orphan.amc").write_text(":FULLY-SPECIFIED\n:DEGREES\n1\nroot 0 0 0 0 0 0\n")


def broken_link(folder):
    (folder / "gone.bvh").symlink_to(folder / "nowhere")
    (folder / "whole folder.bvh").mkdir()  # no file: not looked at


def torn_hdr(folder):
    (folder / "torn.hdr").write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 64 +X 128\n\x02")


def torn_exr(folder):
    (folder / "torn.exr").write_bytes(b"\x76\x2f\x31\x01" + bytes(40))


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(line):
        with pytest.raises(SystemExit) as ending:
            main(line.split())
        printed = capsys.readouterr()
        return ending.value.code, printed.out, printed.err

    return run


@pytest.mark.parametrize(
    ("flag", "spoil"),
    [
        ("mocap", torn_bvh),
        ("mocap", short_bvh),
        ("mocap", amass_without_rate),
        ("mocap", amass_with_nan),
        ("mocap", amc_without_asf),
        ("mocap", broken_link),
        ("panorama", torn_hdr),
        ("panorama", torn_exr),
    ],
)
def test_a_bad_file_filters_the_clips_that_use_it(ask, tmp_path, shared_data, flag, spoil):
    folder = tmp_path / "files"
    folder.mkdir()
    source = {"mocap": "mocap/cmu_bvh/*.bvh", "panorama": "envmaps/studio*.hdr"}[flag]
    good = min(shared_data.glob(source), key=lambda path: path.stat().st_size)
    shutil.copy(good, folder / f"whole{good.suffix}")
    spoil(folder)
    code, out, error = ask(f"{LINE} --{flag} files")
    assert code == 0, error
    (stage,) = json.loads(out)["stages"]
    assert stage["failed"] == {}
    assert list(stage["filtered"]) == ["bad_file"]
    assert stage["kept"] > 0
    assert stage["kept"] + stage["filtered"]["bad_file"] == stage["inputs"] == 6
    (bad,) = [path.name for path in folder.iterdir() if not path.name.startswith("whole")]
    rejected = [r for r in read_results(Store("data"), "render") if r.status == "filtered"]
    assert all(bad in result.detail for result in rejected)


def test_a_folder_of_bad_files_gives_no_shard_and_one_line(ask, tmp_path):
    (tmp_path / "files").mkdir()
    torn_bvh(tmp_path / "files")
    code, _, error = ask(f"{LINE} --mocap files --shards set")
    assert code == 1
    assert len(error.splitlines()) == 1
    assert "no clip of 'set' was kept" in error
    told = (tmp_path / "data/shards/set/shard-000000.jsonl").read_text()
    assert told.count("bad_file") == 6
    code, _, error = ask(f"{LINE} --mocap files --dry-run")
    assert code == 1
    assert "torn.bvh" in error


@pytest.mark.parametrize(("error", "reason"), [(OutOfFrame, "out_of_frame"), (Hidden, "hidden")])
def test_people_who_leave_the_frame_or_are_never_seen_are_a_reason(ask, monkeypatch, error, reason):
    render = produce.render_members

    def lose_one(spec, **options):
        if spec.seed == 1:
            raise error("no distance up to 80 m keeps the people in the frame")
        return render(spec, **options)

    monkeypatch.setattr(produce, "render_members", lose_one)
    code, out, _ = ask(LINE.replace("--count 6", "--count 2"))
    (stage,) = json.loads(out)["stages"]
    assert (code, stage["kept"], stage["filtered"]) == (0, 1, {reason: 1})


def run_away(source, target):
    """The recorded run, its way forty times as long: over a hundred metres."""
    head, mark, motion = source.read_text().partition("MOTION")
    count, rate, *rows = motion.strip().splitlines()
    values = np.array([row.split() for row in rows], float)
    values[:, [0, 2]] *= 40
    lines = [" ".join(f"{value:g}" for value in row) for row in values]
    target.write_text("\n".join([head + mark, count, rate, *lines]))


def test_a_recorded_run_that_leaves_the_frame_costs_its_clips(ask, tmp_path, shared_data):
    """A resting camera keeps nobody in the frame who runs farther than it can step back."""
    folder = tmp_path / "files"
    folder.mkdir()
    run = shared_data / "mocap/cmu_bvh/35_17.bvh"
    shutil.copy(run, folder / "run.bvh")
    run_away(run, folder / "away.bvh")
    code, out, error = ask(f"{LINE} --mocap files".replace("--frames 2", "--frames 7 --fps 2"))
    assert code == 0, error
    (stage,) = json.loads(out)["stages"]
    assert (stage["inputs"], list(stage["filtered"])) == (6, ["out_of_frame"])
    assert stage["kept"] + stage["filtered"]["out_of_frame"] == 6
    assert stage["kept"] > 0


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--body absent.npz --skins {skins}", "no body file at absent.npz"),
        ("--body empty.npz --skins {skins}", "empty.npz must hold v_template"),
        ("--body {body} --skins absent", "no texture folder at absent"),
        ("--body {body} --skins spoilt", "note.jpg is not a readable picture"),
        ("--body {body}", "belong together"),
        ("--skins {skins}", "belong together"),
    ],
)
def test_a_bad_body_or_skin_is_told_before_anything_is_rendered(ask, tmp_path, scans, flags, told):
    np.savez(tmp_path / "empty.npz", nothing=np.zeros(1))
    shutil.copytree(scans[1], tmp_path / "spoilt")
    (tmp_path / "spoilt/note.jpg").write_text("a note")
    code, _, error = ask(f"{LINE} {flags.format(body=scans[0], skins=scans[1])}")
    assert code == 1
    assert len(error.splitlines()) == 1
    assert told in error
    assert not (tmp_path / "data").exists()


def test_a_card_that_is_not_there_is_told_before_anything_is_rendered(ask, tmp_path, monkeypatch):
    monkeypatch.setattr(h264, "_nvenc_trouble", lambda: "no card")
    code, _, error = ask(f"{LINE} --encoder nvenc")
    assert (code, len(error.splitlines())) == (1, 1)
    assert "nvenc does not open here (no card)" in error
    assert "take x264" in error
    code, _, error = ask(f"{LINE} --encoder x265")
    assert (code, "encoder must be one of" in error) == (1, True)
    assert not (tmp_path / "data").exists()


def test_a_torn_skin_costs_the_clips_that_wear_it(ask, tmp_path, scans):
    shutil.copytree(scans[1], tmp_path / "skins")
    torn = tmp_path / "skins/bert.png"
    torn.write_bytes(torn.read_bytes()[:40])
    code, out, _ = ask(f"{LINE} --body {scans[0]} --skins skins")
    (stage,) = json.loads(out)["stages"]
    assert (code, list(stage["filtered"])) == (0, ["bad_file"])
    assert stage["kept"] > 0
    assert stage["kept"] + stage["filtered"]["bad_file"] == 6

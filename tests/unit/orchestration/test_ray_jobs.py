"""The sweep stops a job that nobody waits for, and no other."""

from types import SimpleNamespace

import dagster as dg
import pytest

import orchestration.ray_jobs
from orchestration.ray_jobs import RAY_JOB, RUN_ID, RayJobs, orphaned_ray_jobs

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Dagster's event log on SQLite
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Jobs:
    """Stands for the cluster: one running job of the run, and a stop that is noted."""

    def __init__(self, run_id, metadata=None, is_over=False):
        told = {RUN_ID: run_id} if metadata is None else metadata
        status = SimpleNamespace(is_terminal=lambda: is_over)
        self.jobs = [SimpleNamespace(metadata=told, status=status, submission_id="job-1")]
        self.stopped = []

    def list_jobs(self):
        return self.jobs

    def stop_job(self, job):
        self.stopped.append(job)


@pytest.fixture
def instance(tmp_path):
    with dg.instance_for_test(temp_dir=str(tmp_path)) as found:
        yield found


@dg.job
def nothing():
    pass


def sweep(instance, monkeypatch, jobs, patience_s=0.0):
    monkeypatch.setattr(RayJobs, "client", lambda self: jobs)
    monkeypatch.setattr(orchestration.ray_jobs, "PATIENCE_S", patience_s)
    resources = {"ray_jobs": RayJobs(address="http://127.0.0.1:1")}
    orphaned_ray_jobs(dg.build_sensor_context(instance, resources=resources))
    return jobs.stopped


def ended_run(instance):
    run = instance.create_run_for_job(nothing)
    instance.report_run_failed(run)
    return run


def test_a_job_is_left_to_the_run_that_waits(instance, monkeypatch):
    run = instance.create_run_for_job(nothing)
    assert not sweep(instance, monkeypatch, Jobs(run.run_id))


def test_a_job_whose_run_has_long_ended_is_stopped(instance, monkeypatch):
    run = ended_run(instance)
    assert sweep(instance, monkeypatch, Jobs(run.run_id)) == ["job-1"]


def test_a_job_waits_for_the_retry_of_its_run(instance, monkeypatch):
    run = ended_run(instance)
    assert not sweep(instance, monkeypatch, Jobs(run.run_id), patience_s=60.0)
    instance.create_run_for_job(nothing, root_run_id=run.run_id, parent_run_id=run.run_id)
    assert not sweep(instance, monkeypatch, Jobs(run.run_id))


def test_a_job_that_another_run_found_is_left_to_it(instance, monkeypatch):
    run = ended_run(instance)
    instance.create_run_for_job(nothing, tags={RAY_JOB: "job-1"})
    assert not sweep(instance, monkeypatch, Jobs(run.run_id))


@pytest.mark.parametrize(
    "jobs",
    [
        Jobs("a run of another Dagster"),
        Jobs("", metadata={}),  # submitted by hand
        Jobs("", metadata={RUN_ID: "x"}, is_over=True),
    ],
)
def test_jobs_of_others_and_finished_ones_are_left_alone(instance, monkeypatch, jobs):
    assert not sweep(instance, monkeypatch, jobs)

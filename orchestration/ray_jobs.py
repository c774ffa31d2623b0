"""Work on a Ray cluster through its Jobs API: submit or adopt, follow, stop what nobody awaits.

A job's id follows from what it does, so a Dagster process that was killed finds its job again
instead of starting a second one. (The Pipes client of dagster-ray serves one job per process, has
no deadline and does not find jobs again, hence this file.)
"""

import hashlib
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from pydantic import Field

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

RUN_ID = "isa4d/dagster-run"
RAY_JOB = "isa4d/ray-job"
"""Tag of the Dagster run that waits for a job."""
PATIENCE_S = 600.0
"""Between the end of a killed run and its retry, nobody waits for its job."""
EXCLUDES = [".git", ".venv", ".dagster", "data", "demo", "runs", "docs", "tests", "**/__pycache__"]
LOST_POLLS = 30
"""Polls in a row without an answer after which a cluster counts as lost."""


class RayJobs(dg.ConfigurableResource):
    """The cluster that trains; without an address, training happens in the run's own process."""

    address: str = Field(
        default="", description="Of the Ray dashboard, such as http://127.0.0.1:8265."
    )
    python: str = Field(
        default="python",
        description="The interpreter on the cluster that has isa4d's requirements.",
    )
    working_dir: str = Field(
        default=str(Path(__file__).parents[1]),
        description="Sent to the cluster; empty where its image holds isa4d already.",
    )
    workers: int = Field(default=1, description="Ray Train workers of a training.")
    poll_s: float = Field(default=2.0, description="Between two looks at a job.")
    deadline_s: float = Field(default=7 * 24 * 3600.0, description="After which a job is stopped.")

    def run(
        self,
        arguments: Sequence[str],
        run_id: str,
        tell: Callable[[str], None],
        claim: Callable[[str], None],
    ) -> str:
        """Run `python ARGUMENTS` on the cluster and wait for it; returns the job's id.

        Args:
            arguments: After the interpreter, for example -m models.train vae_tiny.
            run_id: Of the Dagster run that waits.
            tell: Called about every `poll_s` with what the job has printed since.
            claim: Called with the job's id before it is waited for.

        Raises:
            dagster.Failure: If the job fails or is stopped, the cluster is lost, or time is up.
        """
        client = self.client()
        job = self._submit_or_adopt(client, shlex.join([self.python, *arguments]), run_id)
        claim(job)
        try:
            self._follow(client, job, tell)
        except dg.DagsterExecutionInterruptedError:
            client.stop_job(job)
            raise
        return job

    def client(self) -> "JobSubmissionClient":
        """The Jobs API at the address."""
        from ray.job_submission import JobSubmissionClient

        return JobSubmissionClient(self.address)

    def _submit_or_adopt(self, client: "JobSubmissionClient", entrypoint: str, run_id: str) -> str:
        name = hashlib.sha256(f"{entrypoint} {self.working_dir}".encode()).hexdigest()[:16]
        known = {info.submission_id: info for info in client.list_jobs()}
        attempts = [f"isa4d-{name}-{attempt}" for attempt in range(1, len(known) + 2)]
        for job in attempts:
            if job in known and not known[job].status.is_terminal():
                return job
        job = next(job for job in attempts if job not in known)
        environment: dict[str, Any] = {"env_vars": {"OMP_NUM_THREADS": "1"}}
        if self.working_dir:
            environment |= {"working_dir": self.working_dir, "excludes": EXCLUDES}
        return client.submit_job(
            entrypoint=entrypoint,
            submission_id=job,
            runtime_env=environment,
            metadata={RUN_ID: run_id},
        )

    def _follow(self, client: "JobSubmissionClient", job: str, tell: Callable[[str], None]) -> None:
        until, told, lost = time.monotonic() + self.deadline_s, 0, 0
        while True:
            try:
                info, printed = client.get_job_info(job), client.get_job_logs(job)
            except (OSError, RuntimeError) as error:  # the dashboard restarts, a proxy hiccups
                lost += 1
                if lost >= LOST_POLLS:
                    raise dg.Failure(
                        f"Ray at {self.address} has not answered {lost} times: {error}; job {job} "
                        "may still run, materialize again to find it"
                    ) from error
                time.sleep(self.poll_s)
                continue
            lost = 0
            tell(printed[told:])
            told = len(printed)
            if info.status.is_terminal():
                if info.status.name != "SUCCEEDED":
                    raise dg.Failure(
                        f"Ray job {job} {info.status.name}: {info.message}",
                        metadata={"log": dg.MetadataValue.md(f"```\n{printed[-4000:]}\n```")},
                    )
                return
            if time.monotonic() > until:
                client.stop_job(job)
                raise dg.Failure(f"Ray job {job} took over {self.deadline_s:.0f} s and was stopped")
            time.sleep(self.poll_s)


@dg.sensor(
    minimum_interval_seconds=120,
    description="Stops Ray jobs whose Dagster run is over: nobody awaits them.",
)
def orphaned_ray_jobs(context: dg.SensorEvaluationContext, ray_jobs: RayJobs) -> dg.SkipReason:
    """Stop what a killed or cancelled run left behind on the cluster."""
    if not ray_jobs.address:
        return dg.SkipReason("training happens in the runs' own processes; no cluster to look at")
    client, stopped = ray_jobs.client(), list[str]()
    for info in client.list_jobs():
        run_id = (info.metadata or {}).get(RUN_ID)
        if run_id is None or info.status.is_terminal() or info.submission_id is None:
            continue
        if not _is_awaited(context.instance, info.submission_id, run_id):
            client.stop_job(info.submission_id)
            stopped.append(info.submission_id)
    return dg.SkipReason(f"stopped {', '.join(stopped)}" if stopped else "no orphan")


def _is_awaited(instance: dg.DagsterInstance, job: str, run_id: str) -> bool:
    """Whether the run that submitted it, a retry, or a run that found the job waits for it."""
    record = instance.get_run_record_by_id(run_id)
    if record is None:
        return True  # another Dagster's, on the same cluster
    if record.end_time is not None and time.time() - record.end_time < PATIENCE_S:
        return True
    family = {run_id, record.dagster_run.root_run_id}
    unfinished = instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))
    return any(
        run.run_id in family or run.root_run_id in family or run.tags.get(RAY_JOB) == job
        for run in unfinished
    )


def forward(text: str) -> None:
    """Print a job's output where Dagster keeps what a step prints."""
    sys.stdout.write(text)
    sys.stdout.flush()

"""A dask cluster out of SLURM jobs, for as long as this script runs: the recipe of docs/cluster.md.

python slurm_cluster.py --jobs 8 --queue standard --cores 32 --memory '64 GB'     # prints tcp://...
"""

from __future__ import annotations

import argparse
import signal
import sys

from dask_jobqueue import SLURMCluster


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1, help="jobs to keep running")
    parser.add_argument("--queue", default="standard", help="the partition")
    parser.add_argument("--cores", type=int, default=1, help="of one job; one point runs on each")
    parser.add_argument("--memory", default="2 GB", help="of one job")
    parser.add_argument("--walltime", default="02:00:00", help="of one job")
    parser.add_argument("--interface", help="network interface that the jobs reach, such as ib0")
    options = parser.parse_args()
    cluster = SLURMCluster(
        queue=options.queue,
        cores=options.cores,
        processes=options.cores,
        memory=options.memory,
        walltime=options.walltime,
        interface=options.interface,
        python=sys.executable,  # the jobs see the same environment through the shared file system
    )
    cluster.adapt(minimum_jobs=options.jobs, maximum_jobs=options.jobs)  # a job that ends is replaced
    print(cluster.scheduler_address, flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    cluster.close()


if __name__ == "__main__":
    main()

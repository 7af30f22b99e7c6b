"""Joining the processes of a run on several hosts."""

import importlib.util
import os

from dimp_jax.host import machine


def initialize_distributed(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    auto: bool = True,
) -> bool:
    """Joins the processes of a multi-host run; call it before anything else of JAX.

    Args:
      coordinator: "host:port" of process 0. num_processes, process_id: with it, or all three None.
      auto: on a TPU pod, in GKE, too, and in a SLURM job step of several tasks, find the others
        without arguments.

    Returns:
      Whether there is more than this process to work with.

    Raises:
      ValueError: some arguments without the others, or out of range.
    """
    given = {"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given):
        several = auto and _launched_by_cluster()
        if not several and not (auto and _on_tpu_vm()):
            return False
        import jax  # takes seconds

        jax.distributed.initialize(**_all_gpus_of_the_node())
        return several or jax.process_count() > 1
    if missing:
        present = [f"{name}={value}" for name, value in given.items() if value is not None]
        raise ValueError(
            f"distributed: {', '.join(present)} without {', '.join(missing)}: give all three or "
            "none"
        )
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(
            f"distributed: coordinator={coordinator!r}: expected HOST:PORT of process 0"
        )
    if num_processes < 1 or not 0 <= process_id < num_processes:
        raise ValueError(
            f"distributed: process_id={process_id} of num_processes={num_processes}: expected "
            "0 <= process_id < num_processes"
        )
    import jax

    jax.distributed.initialize(coordinator, num_processes, process_id)
    return num_processes > 1


def _all_gpus_of_the_node() -> dict:
    """For the only task of a SLURM job step on its node: jax gives a task one GPU, its own."""
    tasks, nodes = (os.environ.get(f"SLURM_STEP_NUM_{what}") for what in ("TASKS", "NODES"))
    gpus = os.environ.get("SLURM_GPUS_ON_NODE", "")
    if tasks is None or tasks != nodes or not gpus.isdigit() or int(gpus) < 2:
        return {}
    return {"local_device_ids": range(int(gpus))}


def _on_tpu_vm() -> bool:
    """A host with TPUs knows from Google's metadata server alone whether it is one of a pod; jax
    asks there. GKE sets the names of the hosts instead."""
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if "TPU_WORKER_HOSTNAMES" in os.environ or (platforms and "tpu" not in platforms.split(",")):
        return False
    return bool(importlib.util.find_spec("libtpu")) and machine.has_tpu()


def _launched_by_cluster() -> bool:
    hosts = [h for h in os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",") if h.strip()]
    if len(hosts) > 1:
        return True
    # In a shell of salloc or sbatch the number of tasks is set as well, but nobody else runs: only
    # srun sets the nodes of a step.
    tasks = os.environ.get("SLURM_NTASKS", "1")
    return tasks.isdigit() and int(tasks) > 1 and "SLURM_STEP_NODELIST" in os.environ

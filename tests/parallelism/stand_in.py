"""A worker that does what a test asks for, by the name of a function in ``task.txt``."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from fixtures.parallelism.group import join_group, keep_watch

FOLDER = Path(sys.argv[1])
RANK = int(os.environ["RANK"])


def hang() -> None:
    """Never end by itself; torch is not even loaded."""
    with keep_watch(FOLDER):
        time.sleep(600)


def add_up() -> None:
    """Sum the ranks plus one over all workers, and note what this process listens on."""
    import torch

    with join_group(FOLDER, "cpu"):
        total = torch.tensor([RANK + 1])
        torch.distributed.all_reduce(total)
        found = {"total": int(total), "listens_on": listening(), "parent": os.getppid()}
        (FOLDER / f"found-{RANK}.json").write_text(json.dumps(found))


def divide_by_zero() -> None:
    """The last worker fails while the other one is at work."""
    with keep_watch(FOLDER):
        if RANK == 1:
            take_a_bad_step()
        time.sleep(600)


def take_a_bad_step() -> None:
    """What the traceback must name."""
    print(1 / 0)


def die() -> None:
    """The last worker is killed while the others wait for it."""
    import torch

    with join_group(FOLDER, "cpu"):
        if RANK == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        torch.distributed.barrier()


def listening() -> list[str]:
    """Addresses, in the kernel's hex, of this process's listening TCP sockets."""
    links = (os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    own = {link[8:-1] for link in links if link.startswith("socket:[")}
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in own:
                found.append(fields[1].partition(":")[0])
    return found


globals()[(FOLDER / "task.txt").read_text()]()

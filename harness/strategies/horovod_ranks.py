"""Horovod's ranks brought together by the process group that is already there: no horovodrun, no ssh, no MPI.

Horovod's own launcher starts processes and tells each by environment variables where it is and where the ranks meet.
Ours are started already, by whichever executor: they tell one another their hosts, rank 0 opens the meeting place
(Horovod's own HTTP server, on the loopback interface where all ranks are on one machine), and closes it once all met.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Slot:
    """Where a rank is: `local` among the ranks of its host, `cross` among those of the same local rank elsewhere."""

    hostname: str
    rank: int
    size: int
    local_rank: int
    local_size: int
    cross_rank: int
    cross_size: int


def slots(hosts: Sequence[str]) -> list[Slot]:
    """The slot of each rank. hosts: host of each rank, by rank; ranks of a host need not be neighbours."""
    ranks_of = Counter(hosts)
    order = list(dict.fromkeys(hosts))
    found = []
    for rank, host in enumerate(hosts):
        local = hosts[:rank].count(host)
        peers = [other for other in order if ranks_of[other] > local]
        found.append(Slot(host, rank, len(hosts), local, ranks_of[host], peers.index(host), len(peers)))
    return found


def variables(slot: Slot, address: str, port: int, interface: str | None) -> dict[str, str]:
    """What Horovod reads from the environment of a rank. interface: network interface, None: the host's routable one.

    Source: https://github.com/horovod/horovod/blob/v0.28.1/horovod/runner/gloo_run.py
    """
    told = {
        "HOROVOD_HOSTNAME": slot.hostname,
        "HOROVOD_RANK": str(slot.rank),
        "HOROVOD_SIZE": str(slot.size),
        "HOROVOD_LOCAL_RANK": str(slot.local_rank),
        "HOROVOD_LOCAL_SIZE": str(slot.local_size),
        "HOROVOD_CROSS_RANK": str(slot.cross_rank),
        "HOROVOD_CROSS_SIZE": str(slot.cross_size),
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": address,
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
    }
    return told | ({"HOROVOD_GLOO_IFACE": interface} if interface else {})


def meet() -> None:
    """Initialise Horovod among the ranks of the process group. Returns when all have met."""
    import horovod.torch as hvd
    import torch.distributed as dist
    from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer

    rank, size = dist.get_rank(), dist.get_world_size()
    hosts = [""] * size
    dist.all_gather_object(hosts, socket.gethostname())
    layout = slots(hosts)
    interface = os.environ.get("GLOO_SOCKET_IFNAME")  # where the worker has put the process group
    server = None
    told: list[tuple[str, int] | None] = [None]
    if rank == 0:
        # MASTER_ADDR is rank 0's address under launchers of several hosts; a host's own name need not be routable.
        address = LOOPBACK if interface == "lo" else os.environ.get("MASTER_ADDR") or socket.gethostname()
        server = RendezvousHTTPServer((LOOPBACK if address == LOOPBACK else "", 0), RendezvousHandler, 0)
        server.init(layout)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        told = [(address, server.server_address[1])]
    dist.broadcast_object_list(told, src=0)
    assert told[0] is not None
    os.environ.update(variables(layout[rank], *told[0], interface))
    hvd.init()
    dist.barrier()
    if server is not None:
        server.shutdown()
        server.server_close()

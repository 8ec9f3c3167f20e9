"""How processes find each other after `torchrun` has started them again.

Its launcher keeps one store of addresses over all restarts, in which those of the processes that are gone
still stand (torch 2.13, ``DynamicRendezvousHandler``). A process that comes first would call one of those, be
refused, and cost another restart. Here the group first agrees on a name that nobody had before, and meets
under it.
"""

import os
import time
from uuid import uuid4

import torch
import torch.distributed as dist

LOOK_SECONDS = 0.01  # how often the first process looks who has come


def meet(where: torch.device) -> None:
    """Form the group of processes, where the launcher's store may hold what an earlier group has said.

    Anywhere else nothing happens: whoever needs the group first forms it.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or dist.is_initialized():
        return
    rank, world = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    named = dist.PrefixStore(agree_on_name(store, rank, world), store)
    dist.init_process_group(
        "nccl" if where.type == "cuda" else "gloo", store=named, rank=rank, world_size=world
    )


def agree_on_name(store: dist.Store, rank: int, world: int) -> str:
    """Return a name that the processes of this group alone know, whatever earlier ones left in the store.

    The first process answers every call that it finds there, of the dead as well, until all that live have
    said that they were answered. Nobody reads a key that an earlier group could have written.
    """
    own = uuid4().hex
    if rank:
        store.set(f"call/{rank}", own)
        name = store.get(f"answer/{own}").decode()  # waits for it
        store.set(f"{name}/heard/{rank}", "")
        return name
    missing = set(range(1, world))
    while missing:
        for other in missing:
            if store.check([f"call/{other}"]):
                store.set(f"answer/{store.get(f'call/{other}').decode()}", own)
        missing = {other for other in missing if not store.check([f"{own}/heard/{other}"])}
        time.sleep(LOOK_SECONDS if missing else 0)
    return own

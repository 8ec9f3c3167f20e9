"""A process of a group that torchrun starts twice, the second time with the first process late."""

import os
import sys
import time

from gateshift.engine.processes import join_processes

if __name__ == "__main__":
    first, again = os.environ["RANK"] == "0", os.environ["TORCHELASTIC_RESTART_COUNT"] != "0"
    if again and first:
        time.sleep(2)
    accelerator = join_processes("cpu")
    accelerator.wait_for_everyone()
    if not again:
        sys.exit("again")
    print(f"met as {accelerator.process_index} after {os.environ['TORCHELASTIC_RESTART_COUNT']}", flush=True)

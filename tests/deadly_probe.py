"""A task for the scan's workers: by its video's name it ends its process, or never ends."""

import os
import signal
import threading

from gateshift.data.check import scan
from gateshift.data.check.probe import Probe


class DeadlyProbe(scan._Task):
    """What ``scan`` asks of a task."""

    def run(self, stopped):
        if "crash" in self.video:
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in self.video:
            threading.Event().wait()
        return Probe(self.video, 0, 0)

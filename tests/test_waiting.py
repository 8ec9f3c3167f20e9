"""Time spent waiting for data: what is counted, and what is said of it."""

import re

import pytest
import torch

from gateshift.engine import waiting
from gateshift.engine.waiting import Waiting, waiting_advice


def test_only_the_time_until_a_batch_is_there_counts(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])

    def batches():
        for seconds in (3.0, 0.0, 2.0):
            now[0] += seconds
            yield seconds

    watch = Waiting(torch.device("cpu"))
    for _ in watch.over(batches()):
        now[0] += 10.0  # the work on it
    assert watch.take() == 5.0
    assert watch.take() == 0.0


def test_nothing_to_wait_for_is_no_time():
    watch = Waiting(torch.device("cpu"))
    assert list(watch.over([])) == []
    assert watch.take() == 0.0


@pytest.mark.parametrize(
    ("share", "workers", "cores", "says"),
    [
        (0.5, 0, 8, "--workers 1."),
        (0.75, 0, 8, "--workers 3."),
        (0.75, 2, 8, "--workers 8."),
        (0.75, 2, 2, "That takes 8 --workers, and there are 2 cores: .*--proxy 256"),
        (0.3, None, None, "more --workers, or .*--proxy 256"),
    ],
)
def test_advice_follows_from_the_share(share, workers, cores, says):
    assert waiting_advice(share, workers, cores).startswith(f"{100 * share:.0f} % of training")
    assert re.search(says, waiting_advice(share, workers, cores))


@pytest.mark.parametrize("share", [0.0, 0.19, float("nan")])
def test_little_waiting_is_not_worth_a_word(share):
    assert waiting_advice(share, 2, 2) == ""


@pytest.mark.gpu
def test_reading_beside_the_work_of_a_gpu_is_no_waiting():
    device = torch.device("cuda")
    matrix = torch.rand(4096, 4096, device=device)
    torch.cuda.synchronize()

    def work(times):
        for _ in range(times):
            matrix @ matrix

    def batches():
        for _ in range(3):
            sum(range(200_000))  # some milliseconds of the CPU
            yield None

    def waited(times):
        watch = Waiting(device)
        started, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        started.record()
        for _ in watch.over(batches()):
            work(times)
        ended.record()
        ended.synchronize()
        return watch.take() / (started.elapsed_time(ended) / 1000)

    work(20)
    torch.cuda.synchronize()
    assert waited(0) > 0.9
    assert waited(2000) < 0.5  # the first batch must be waited for

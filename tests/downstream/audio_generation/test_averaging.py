"""The moving average of the weights."""

from __future__ import annotations

import torch

from downstream.audio_generation.averaging import Average


def test_an_average_begins_anew_where_the_weights_get_another_meaning():
    model = torch.nn.Linear(1, 1)
    model.register_buffer("l_kernel", torch.tensor(0))
    average = Average(model, 0.9)
    average.update(model)
    with torch.no_grad():
        model.weight.add_(1)
        model.l_kernel.fill_(8)
    average.update(model)
    assert torch.equal(average.model.weight, model.weight)
    assert average.model.l_kernel == 8


def test_an_average_takes_frozen_numbers_as_they_are():
    model = torch.nn.Linear(2, 2)
    model.register_buffer("frozen", torch.zeros(2))
    average = Average(model, 0.5)
    for value in (0.0, 1.0):
        model.frozen.fill_(value)
        average.update(model)
    assert average.model.frozen.tolist() == [1, 1]

"""SpecAug against S3PRL's recorded draws, torch's image resizing, and its own promises."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from utility.errors import ConfigError
from utility.training.specaug import SpecAug
from utility.training.time_warp import warp_taps


def arrays(folder, name: str) -> list[Tensor]:
    loaded = np.load(folder / f"{name}.npz")
    return [torch.from_numpy(loaded[key]) for key in sorted(loaded)]


@pytest.mark.parametrize("case", ["superb", "no_warp", "freq_only", "time_only", "adaptive"])
def test_recorded_draws(golden, case: str):
    folder = golden(f"tasks/specaug/{case}")
    params = json.loads((folder / "params.json").read_text())
    calls = json.loads((folder / "outputs.json").read_text())["randint_calls_in_order"]

    def recorded(low: int, high: int, size: tuple[int, ...]) -> Tensor:
        call = calls.pop(0)
        assert (call["low"], call["high"], tuple(call["shape"])) == (low, high, size)
        return torch.tensor(call["values"]).view(size)

    inputs, expected = arrays(folder, "inputs"), arrays(folder, "outputs")
    for out, y in zip(SpecAug(recorded, **params["config"])(inputs), expected, strict=True):
        torch.testing.assert_close(out, y, rtol=1e-4, atol=1e-5)
    assert not calls
    torch.manual_seed(params["seed"])
    for out, y in zip(SpecAug(**params["config"])(inputs), expected, strict=True):
        torch.testing.assert_close(out, y, rtol=1e-4, atol=1e-5)


def test_recorded_time_warps(golden):
    folder = golden("tasks/specaug/time_warp_given_draws")
    pairs = json.loads((folder / "params.json").read_text())["pairs"]
    (x,) = arrays(folder, "inputs")
    for (border, shifted), expected in zip(pairs, arrays(folder, "outputs"), strict=True):
        draws = iter([border, shifted - 1])
        warp = SpecAug(lambda *_, draws=draws: torch.tensor([next(draws)]), apply_freq_mask=False, apply_time_mask=False)
        torch.testing.assert_close(warp([x])[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["superb_768", "superb_short", "adaptive"])
def test_recorded_mask_rates(golden, case: str):
    folder = golden(f"tasks/specaug/stats_{case}")
    params, expected = (json.loads((folder / name).read_text()) for name in ("params.json", "outputs.json"))
    torch.manual_seed(0)
    augment, draws = SpecAug(**params["config"]), 200
    ones = torch.ones(params["T"], params["D"])
    zero = [augment([ones])[0].abs() < 1e-3 for _ in range(draws)]
    frames = torch.tensor([mask.all(dim=1).double().mean() for mask in zero])
    dims = torch.tensor([mask.all(dim=0).double().mean() for mask in zero])
    for rates, kind, size in ((frames, "frame", params["T"]), (dims, "dim", params["D"])):
        spread = expected[f"std_over_draws_{kind}s"]
        assert abs(rates.mean() - expected[f"mean_masked_{kind}_fraction"]) < 4 * spread * (1 / draws + 1 / params["draws"]) ** 0.5
        assert 0.7 * spread < rates.std() < 1.3 * spread
        assert 0 < rates.max() * size <= size


@settings(max_examples=60, deadline=None)
@given(data=st.data(), mode=st.sampled_from(["bicubic", "bilinear", "nearest"]))
def test_the_warp_is_torchs_image_resizing(data: st.DataObject, mode: str):
    lengths = data.draw(st.lists(st.integers(2, 40), min_size=1, max_size=4))
    borders = [(data.draw(st.integers(1, n - 1)), data.draw(st.integers(1, n - 1))) for n in lengths]
    features = [torch.randn(n, 3, dtype=torch.float64) for n in lengths]
    taps, weights = warp_taps(lengths, borders, mode)
    out = (weights[..., None] * torch.cat(features)[taps]).sum(dim=1).split(lengths)
    corners = {} if mode == "nearest" else {"align_corners": False}
    for x, (border, shifted), y in zip(features, borders, out, strict=True):
        parts = ((x[:border], shifted), (x[border:], len(x) - shifted))
        expected = torch.cat([F.interpolate(part[None, None], size=(size, 3), mode=mode, **corners)[0, 0] for part, size in parts])
        torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)


batches = st.lists(st.integers(1, 60), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(lengths=batches, width=st.integers(1, 20), adaptive=st.booleans(), seed=st.integers(0, 1000))
def test_any_batch_keeps_its_shapes_and_inputs(lengths: list[int], width: int, adaptive: bool, seed: int):
    torch.manual_seed(seed)
    features = [torch.randn(n, width) for n in lengths]
    before = [x.clone() for x in features]
    out = SpecAug(adaptive=adaptive)(features)
    assert [y.shape for y in out] == [x.shape for x in features]
    assert all(torch.equal(x, y) for x, y in zip(features, before, strict=True))
    assert all(y.isfinite().all() for y in out)


@settings(max_examples=40, deadline=None)
@given(lengths=batches, seed=st.integers(0, 1000))
def test_masks_are_spans_and_the_rest_is_untouched(lengths: list[int], seed: int):
    torch.manual_seed(seed)
    features = [torch.rand(n, 12) + 1 for n in lengths]
    out = SpecAug(apply_time_warp=False, num_time_mask=1, num_freq_mask=1, time_mask_width_range=(1, 6), freq_mask_width_range=5)(features)
    for x, y in zip(features, out, strict=True):
        zero = y == 0
        frames, bands = zero.all(dim=1), zero.all(dim=0)
        assert torch.equal(zero, frames[:, None] | bands[None, :])
        assert torch.equal(y[~zero], x[~zero])
        if not zero.all():
            for flags, longest in ((frames, 5), (bands, 4)):
                where = flags.nonzero().flatten().tolist()
                assert len(where) <= longest
                assert where == list(range(where[0], where[0] + len(where))) if where else True


def test_masks_differ_between_utterances_and_follow_the_seed():
    features = [torch.ones(200, 30)] * 3
    torch.manual_seed(3)
    first = SpecAug(apply_time_warp=False)(features)
    torch.manual_seed(3)
    second = SpecAug(apply_time_warp=False)(features)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], first[1])


def test_gradients_flow_through_warp_and_masks():
    torch.manual_seed(1)
    fields = {"freq_mask_width_range": (0, 3), "time_mask_width_range": (0, 5)}
    features = [torch.randn(n, 4, dtype=torch.float64, requires_grad=True) for n in (12, 14)]

    def augmented(*features: Tensor) -> tuple[Tensor, ...]:
        torch.manual_seed(5)
        return tuple(SpecAug(**fields)(features))

    assert torch.autograd.gradcheck(augmented, tuple(features))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes_stay(dtype: torch.dtype):
    torch.manual_seed(0)
    (out,) = SpecAug(apply_freq_mask=False, apply_time_mask=False)([torch.arange(40.0)[:, None].to(dtype)])
    assert out.dtype == dtype
    assert not torch.equal(out.flatten(), torch.arange(40.0).to(dtype))


def test_batches_too_short_for_anything_pass():
    features = [torch.ones(3, 4)]
    assert torch.equal(SpecAug(adaptive=True, apply_freq_mask=False)(features)[0], features[0])
    assert SpecAug()([]) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"time_mask_widht_range": [0, 40]}, "specaug: unknown field 'time_mask_widht_range'; did you mean 'time_mask_width_range'"),
        ({"apply_time_warp": False, "apply_freq_mask": False, "apply_time_mask": False}, "at least one of apply_time_warp"),
        ({"time_mask_width_range": [40, 40]}, "time_mask_width_range must be two whole numbers"),
        ({"freq_mask_width_range": [0, 2.5]}, "freq_mask_width_range must be two whole numbers"),
        ({"draw": 3}, "unknown field 'draw'"),
        ({"num_time_mask": -1}, "num_time_mask must be a whole number"),
        ({"adaptive": "sometimes"}, "adaptive must be true or false"),
        ({"adaptive_size_ratio": -0.1}, "adaptive_size_ratio must be a number"),
        ({"time_warp_mode": "area"}, "time_warp_mode must be one of bicubic, bilinear, nearest"),
        ({"time_warp_window": 0}, "time_warp_window must be at least 1"),
    ],
)
def test_impossible_fields_are_refused(fields: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        SpecAug(**fields)


def test_all_faults_come_together():
    with pytest.raises(ConfigError) as caught:
        SpecAug(num_time_mask=-1, adaptive=3)
    assert len(caught.value.faults) == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_numbers_twice_and_as_the_cpu():
    grads = []
    for _ in range(2):
        features = [torch.randn(n, 64, generator=torch.Generator().manual_seed(n)).cuda().requires_grad_() for n in (300, 411)]
        torch.manual_seed(2)
        augment = SpecAug()
        out = augment(features)
        (out[0].square().sum() + out[1].sin().sum()).backward()
        grads.append([x.grad.cpu() for x in features])
        torch.manual_seed(2)
        for y, on_cpu in zip(out, augment([x.detach().cpu() for x in features]), strict=True):
            torch.testing.assert_close(y.detach().cpu(), on_cpu, rtol=1e-5, atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))

"""Kaldi features: every option against torchaudio, and independence of batch, threads and surroundings."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import warnings

import pytest
import torch

from upstream.registry import build
from utility.errors import ConfigError, DataError
from utility.features.deltas_cmvn import add_deltas, cmvn
from utility.features.kaldi import KaldiFeatures, fbank, mfcc, spectrogram
from utility.features.kaldi_batch import BatchKaldi
from utility.features.kaldi_options import WINDOWS, KaldiOptions
from utility.features.threads import use_threads

FRAME_VARIANTS = [
    {},
    *({"window_type": name} for name in WINDOWS),
    {"window_type": "blackman", "blackman_coeff": 0.3},
    {"frame_length": 32.0, "frame_shift": 12.5},
    {"preemphasis_coefficient": 0.0},
    {"remove_dc_offset": False},
    {"round_to_power_of_two": False},
    {"snip_edges": False},
    {"snip_edges": False, "frame_length": 10.0, "frame_shift": 20.0},
    {"energy_floor": 0.0},
    {"raw_energy": False},
    {"subtract_mean": True},
    {"min_duration": 0.02, "channel": 0},
]
MEL_VARIANTS = [
    {"num_mel_bins": 40},
    {"low_freq": 100.0, "high_freq": -200.0},
    {"htk_compat": True},
    {"use_energy": True},
    {"use_energy": True, "htk_compat": True},
    {"use_energy": True, "raw_energy": False, "energy_floor": 0.0},
    {"vtln_warp": 1.1},
    {"vtln_warp": 0.9, "vtln_low": 150.0, "vtln_high": -700.0},
]
CASES = [
    *((kind, options) for kind in ("fbank", "mfcc", "spectrogram") for options in FRAME_VARIANTS),
    *((kind, options) for kind in ("fbank", "mfcc") for options in MEL_VARIANTS),
    ("fbank", {"use_log_fbank": False}),
    ("fbank", {"use_power": False}),
    ("mfcc", {"cepstral_lifter": 0.0}),
    ("mfcc", {"num_ceps": 20}),
]


@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
def test_agrees_with_torchaudio(kind, options, wavs):
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
    made = KaldiOptions.of(kind, options)
    quick, lengths = KaldiFeatures(made)(wavs)
    batched, batched_lengths = BatchKaldi(made)(wavs)
    assert lengths.tolist() == batched_lengths.tolist()
    assert quick.size(-1) == made.dim
    for index, wav in enumerate(wavs):
        expected = getattr(kaldi, kind)(wav[None], sample_frequency=16000.0, **options)
        for ours in (quick, batched):
            torch.testing.assert_close(ours[index, : lengths[index]], expected, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize(("order", "window"), [(1, 3), (2, 5), (3, 7)])
@pytest.mark.parametrize("normalised", [False, True])
def test_batched_and_single_pipelines_agree(order, window, normalised, wavs):
    pipeline = KaldiFeatures(KaldiOptions(num_mel_bins=80), order, window, normalised)
    single, lengths = pipeline(wavs)
    batched, batched_lengths = pipeline._at_once(wavs)
    assert lengths.tolist() == batched_lengths.tolist()
    torch.testing.assert_close(single, batched, rtol=1e-3, atol=2e-3)


def test_deltas_and_cmvn_follow_their_formulas():
    x = torch.randn(1, 9, 3)
    static, first, second = add_deltas(x, 2)[0].chunk(3, dim=-1)
    index = torch.arange(9)

    def at(values, n):
        return values[(index + n).clamp(0, 8)]

    for source, delta in ((static, first), (first, second)):
        torch.testing.assert_close(delta, (at(source, 1) - at(source, -1) + 2 * (at(source, 2) - at(source, -2))) / 10)
    torch.testing.assert_close(cmvn(x)[0], (x[0] - x[0].mean(0)) / (x[0].std(0) + 1e-10))


@pytest.mark.parametrize("name", ["fbank", "fbank_no_cmvn", "mfcc", "spectrogram", "stft_mag", "waveform"])
def test_bit_identical_alone_in_any_batch_and_order(name, wavs):
    upstream = build(name)
    assert upstream.batch_independent
    together, reverse = upstream(wavs), upstream(wavs[::-1])
    for index, wav in enumerate(wavs):
        alone = upstream([wav])["hidden_states"][0][0]
        frames = int(together["lengths"][index])
        assert len(alone) == frames
        assert torch.equal(together["hidden_states"][0][index, :frames], alone)
        assert torch.equal(reverse["hidden_states"][0][len(wavs) - 1 - index, :frames], alone)
        assert together["hidden_states"][0][index, frames:].abs().sum() == 0


@pytest.mark.parametrize("name", ["fbank", "mel"])
def test_bit_identical_for_any_number_of_threads(name, wavs):
    upstream, before = build(name), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            use_threads(threads)
            results.append(upstream(wavs)["last_hidden_state"])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
        use_threads(None)
    assert all(torch.equal(results[0], other) for other in results[1:])


def _child_features(wav, threads, queue) -> None:
    torch.set_num_threads(threads)
    use_threads(threads)
    queue.put(fbank([wav])[0].sum().item())


@pytest.mark.parametrize("threads", [1, 2])
def test_works_in_a_forked_child_after_use_in_the_parent(threads, wavs):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    use_threads(2)
    try:
        expected = fbank([wavs[0]])[0].sum().item()
    finally:
        torch.set_num_threads(before)
        use_threads(None)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_child_features, args=(wavs[0], threads, queue))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later: the parent has threads
        child.start()
    child.join(60)
    assert child.exitcode == 0
    assert queue.get() == expected


@pytest.mark.parametrize("name", ["fbank", "mel"])
def test_autocast_and_inference_mode_change_nothing(name, wavs):
    upstream = build(name)
    expected = upstream(wavs)["last_hidden_state"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(upstream(wavs)["last_hidden_state"], expected)
    with torch.inference_mode():
        assert torch.equal(upstream(wavs)["last_hidden_state"], expected)


@pytest.mark.parametrize("name", ["fbank", "mfcc", "spectrogram", "mel", "linear", "stft_mag"])
def test_gradients_reach_the_waveform(name):
    wav = torch.randn(4000).requires_grad_()
    state = build(name)([wav])["hidden_states"][0]
    state.square().sum().backward()
    assert torch.isfinite(wav.grad).all() and wav.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["fbank", "mel", "stft_mag"])
def test_first_use_in_inference_mode_does_not_bar_gradients(name):
    upstream, wav = build(name), torch.randn(4000)
    with torch.inference_mode():
        upstream([wav.clone().requires_grad_()])
        upstream([wav])
    upstream([wav.requires_grad_()])["hidden_states"][0].square().sum().backward()
    assert wav.grad.abs().sum() > 0


def test_one_frame_and_silence_stay_finite():
    features = build("fbank")([torch.randn(400), torch.zeros(4000)])["last_hidden_state"]
    assert torch.isfinite(features).all()
    assert features[0].abs().sum() == 0


def test_double_precision_and_strided_waveforms_are_taken():
    wav = torch.randn(8000)
    strided = torch.stack([wav, wav], dim=1)[:, 0]
    assert torch.equal(fbank([strided])[0], fbank([wav])[0])
    assert torch.equal(fbank([wav.double()])[0], fbank([wav])[0])
    assert torch.equal(fbank([wav[1000:]])[0], fbank([wav[1000:].clone()])[0])


@pytest.mark.parametrize("name", ["fbank", "mel", "stft_mag", "example"])
def test_used_upstreams_can_be_copied_and_pickled(name, wavs):
    upstream = build(name)
    expected = upstream(wavs)["hidden_states"][0]
    for twin in (copy.deepcopy(upstream), pickle.loads(pickle.dumps(upstream))):
        assert torch.equal(twin(wavs)["hidden_states"][0], expected)


def test_functions_return_unpadded_lists(wavs):
    for function, width in ((fbank, 23), (mfcc, 13), (spectrogram, 257)):
        assert [tuple(x.shape) for x in function(wavs)] == [(1 + (len(wav) - 400) // 160, width) for wav in wavs]


@pytest.mark.parametrize("name", ["fbank", "mel", "stft_mag", "waveform", "example"])
@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (torch.zeros(0), "0 samples are too short"),
        (torch.tensor([0.0, float("nan")] * 4000), "sample 1 is nan"),
        (torch.tensor([float("inf"), -float("inf")] * 4000), "sample 0 is inf"),
        (torch.zeros(1, 8000), r"one dimension, not the shape \(1, 8000\)"),
        (torch.zeros(8000, dtype=torch.int16), "floating point in .* not int16"),
    ],
)
def test_faulty_items_are_named(name, fault, sentence):
    with pytest.raises(DataError, match=f"item 1 of the batch: .*{sentence}"):
        build(name)([torch.randn(8000), fault])


@pytest.mark.parametrize(("name", "least"), [("fbank", 400), ("mel", 201), ("stft_mag", 257)])
def test_shortest_input(name, least):
    upstream = build(name)
    assert upstream([torch.randn(least)])["hidden_states"][0].size(1) >= 1
    with pytest.raises(DataError, match=f"{least - 1} samples are too short, {least} are needed"):
        upstream([torch.randn(least - 1)])
    with pytest.raises(DataError, match=r"no item"):
        upstream([])


def test_a_sum_beyond_float32_is_no_fault():
    assert len(build("waveform")([torch.full((4,), 3e38)])["last_hidden_state"]) == 1


@pytest.mark.parametrize(
    ("kind", "options", "sentences"),
    [
        ("fbank", {"num_mel_bin": 80}, ["'num_mel_bin' of fbank; did you mean 'num_mel_bins'"]),
        ("mfcc", {"use_power": True}, ["'use_power' of mfcc"]),
        ("fbank", {"dither": 1.0, "channel": 1}, ["dither must be 0", "channel must be 0 or -1"]),
        ("fbank", {"window_type": "hann"}, ["did you mean 'hanning'"]),
        ("fbank", {"num_mel_bins": "80", "frame_length": True}, ["num_mel_bins must be of type int", "frame_length must be of type float"]),
        ("fbank", {"low_freq": 9000.0}, ["low_freq 9000.0 and high_freq"]),
        ("mfcc", {"num_ceps": 30}, ["num_ceps 30 must be 1 to num_mel_bins"]),
        ("fbank", {"vtln_warp": 1.1, "vtln_low": 10.0}, ["vtln_low 10.0"]),
        ("fbank", {"frame_length": 25.1, "round_to_power_of_two": False}, ["odd FFT length"]),
        ("plp", {}, ["unknown feat_type 'plp'"]),
    ],
)
def test_impossible_options_are_named(kind, options, sentences):
    with pytest.raises(ConfigError) as caught:
        KaldiOptions.of(kind, options)
    assert all(sentence in str(caught.value) for sentence in sentences), str(caught.value)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["fbank", "mfcc", "spectrogram", "mel", "linear", "stft_mag"])
def test_gpu_agrees_with_cpu(name, wavs):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    upstream = build(name)
    on_cpu = upstream(wavs)["hidden_states"][0]
    with torch.autocast("cuda"):
        on_gpu = upstream.cuda()([wav.cuda() for wav in wavs])["hidden_states"][0]
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=1e-3, atol=2e-2)

"""Do the three families learn codes better than one or two codes at a time can be, and do generated files follow from what was learnt?"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.nn import functional as F

from downstream.audio_generation.data.batches import Framing
from downstream.audio_generation.likelihood import loss_of
from downstream.audio_generation.models.build import build
from downstream.audio_generation.models.code_model import CodeModel
from downstream.audio_generation.quantise import Quantiser
from run_downstream import main
from tests.downstream.audio_generation.learning import codes_of, entropies, fsdd, train
from tests.downstream.seeds import SEEDS
from tests.support.corpora import synthetic

FAMILIES = ("sashimi", "wavenet", "samplernn")
GAIN = 0.3  # bits per code that SaShiMi must be better than what the code before tells
STEPS, SAMPLE_LEN, BATCH = 600, 1024, 2
# The noise in synthetic speech makes nearly all pairs of codes occur: the bigram entropy of 0.4 million test codes is 6.35, of 1.6 million
# 6.50, of 4.2 million 6.53. This many speakers give about 1.6 million.
SPEAKERS = 40

# every word of four of two letters stands in it once: the letter before says nothing about the next one, the four before say all
CYCLE = [0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 1, 0, 1, 1, 1, 1]
TINY = {
    "_name_": "sashimi",
    "d_model": 16,
    "n_layers": 1,
    "pool": [2],
    "expand": 1,
    "layer": {"_name_": "s4d", "d_state": 16, "dt_min": 0.1, "dt_max": 1.0},
}


def streams(count: int, length: int, seed: int) -> list[np.ndarray]:
    """The cycle in two codes, begun anywhere."""
    starts = np.random.default_rng(seed).integers(0, len(CYCLE), count)
    return [np.resize(np.roll(np.where(CYCLE, 160, 96), -start), length) for start in starts]


def learnt(model: CodeModel, framing: Framing, steps: int) -> CodeModel:
    """The model after so many updates of 16 streams of 64 codes."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 10) * (1 - step / steps))
    for step in range(steps):
        x, y = framing.batch([torch.from_numpy(codes) for codes in streams(16, 64, step)])
        optimizer.zero_grad()
        F.cross_entropy(model(x)[0].flatten(0, 1), y.flatten()).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def test_a_periodic_stream_is_learnt_far_below_its_bigram_entropy():
    torch.manual_seed(0)
    model = build(TINY, 256)
    framing = Framing(Quantiser().zero, model.warm_up, multiple=2)
    test = streams(32, 64, 10_000)
    unigram, bigram = entropies(test)
    assert (unigram, bigram) == (pytest.approx(1, abs=0.01), pytest.approx(1, abs=0.01))
    learnt(model, framing, 150)
    x, y = framing.batch([torch.from_numpy(codes) for codes in test])
    with torch.no_grad():
        total, count = loss_of(model(x)[0], y)
    assert total.item() / count / math.log(2) < 0.4 * bigram


@pytest.fixture(params=["synthetic", "fsdd"])
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Digits of a synthesizer, or of people."""
    if request.param == "synthetic":
        return synthetic("sc09", tmp_path / "corpus", SPEAKERS) / "sc09"
    archive = request.getfixturevalue("shared") / "data" / "fsdd" / "fsdd_4spk.tar.gz"
    return fsdd(archive, tmp_path / "corpus")


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_sashimi_is_better_than_any_model_of_two_codes(corpus: Path, tmp_path: Path, seed: int):
    """Families of about equal size after as many codes and updates; then what SaShiMi generates, alone and from a prefix."""
    unigram, bigram = entropies(codes_of(corpus, "test", SAMPLE_LEN))
    print(f"{STEPS} x {BATCH} x {SAMPLE_LEN} codes, seed {seed}: unigram {unigram:.2f}, bigram {bigram:.2f} bits per code")
    bits = {}
    for family in FAMILIES if corpus.name != "sc09" else FAMILIES[:1]:  # all three on people's digits, to save time
        found = train(tmp_path / family, corpus, family, STEPS, SAMPLE_LEN, BATCH, seed)
        bits[family] = found["bpb"]
        print(f"{family}: {bits[family]:.2f} bits, {found['parameters']} parameters, {found['seconds']:.0f} s")
    assert bits["sashimi"] < bigram - GAIN
    likely_first_is_last(tmp_path / "sashimi")
    prefixes_go_on(tmp_path / "sashimi", codes_of(corpus, "val", SAMPLE_LEN))


def generated(exp: Path, folder: Path, **options: int) -> tuple[list[dict], np.ndarray, list[np.ndarray]]:
    """Rows, log likelihoods and codes of a generation, in the order of the files."""
    words = [f"config.downstream_expert.generate.{name}={value}" for name, value in {**options, "save_dir": folder}.items()]
    assert main(["-m", "evaluate", "-t", "generate", "-e", str(exp / "dev-best.ckpt"), "-o", ",,".join(words), "--device", "cpu"]) == 0
    rows = json.loads(next(folder.glob("*_streams.json")).read_text())
    levels = Quantiser().decode(torch.arange(256)).numpy()
    waves = [soundfile.read(folder / row["file"], dtype="float32")[0] for row in rows]
    return rows, np.load(next(folder.glob("*_logprobs.npy"))), [np.abs(wave[:, None] - levels).argmin(1) for wave in waves]


def likely_first_is_last(exp: Path) -> None:
    """Files ascend by their likelihood."""
    rows, likelihoods, codes = generated(exp, exp / "free", n_samples=8, l_sample=SAMPLE_LEN)
    assert len(rows) == len({row.tobytes() for row in codes}) == 8
    assert [row["logprobs"] for row in rows] == pytest.approx(likelihoods.tolist())
    assert (np.diff(likelihoods) > 0).all()


def prefixes_go_on(exp: Path, examples: list[np.ndarray]) -> None:
    """Files begin with the codes of their example, and go on in ways of their own."""
    rows, _, codes = generated(exp, exp / "prefixed", n_samples=2, n_reps=2, l_sample=SAMPLE_LEN, l_prefix=401)
    assert sorted((row["example"], row["replica"]) for row in rows) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for row, found in zip(rows, codes, strict=True):
        np.testing.assert_array_equal(found[:400], examples[row["example"]][:400])
    assert len({found[400:].tobytes() for found in codes}) == 4

"""A second epoch with the feature store beside one without: seconds from waveforms to the features that a task gets.

    python3 tests/benchmarks/feature_store.py [--layers 12] [--utterances 8] [--threads 1]

A wav2vec 2.0 of the base size with random weights, frozen, in its batch-independent mode, on the CPU; utterances of 2 to 15 s in one batch.
The second epoch finds the files in the memory of the system, as it does in any training whose store fits there. Loading of audio and the
task itself cost the same either way and are left out.
"""

from __future__ import annotations

import argparse
import site
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

site.addsitedir(str(Path(__file__).resolve().parents[2]))


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12, help="of the Transformer")
    parser.add_argument("--utterances", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1, help="of the math library")
    args = parser.parse_args()

    import torch

    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(0)
    lengths = torch.linspace(2, 15, args.utterances).mul(16000).int().tolist()
    wavs = [0.1 * torch.randn(length, generator=generator) for length in lengths]
    with tempfile.TemporaryDirectory() as folder:
        upstream = random_upstream(Path(folder) / "model", args.layers)
        print(f"{sum(lengths) / 16000:.0f} s of audio in {args.utterances} utterances, {args.layers + 1} states, {args.threads} threads")
        measure(upstream, wavs, Path(folder))
    return 0


def random_upstream(folder: Path, layers: int) -> Any:
    """The upstream ``hf`` on a model that is written for it."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    from upstream.registry import build

    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config(num_hidden_layers=layers)).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false, "feature_extractor_type": "Wav2Vec2FeatureExtractor"}')
    return build("hf", ckpt=str(folder), batch_independent=True).eval()


def measure(upstream: Any, wavs: list, folder: Path) -> None:
    """Times the upstream, and the first and second epoch with a store of each type."""
    import torch

    from downstream.stored import Settings, StoredUpstream
    from upstream.featurizer import Featurizer

    featurizer = Featurizer(upstream)

    def timed(states: Callable[[], Any]) -> float:
        start = time.perf_counter()
        with torch.no_grad():
            featurizer(wavs, states())
        return time.perf_counter() - start

    without = timed(lambda: upstream(wavs))
    print(f"{without:8.2f} s  without a store")
    for dtype in ("fp32", "fp16"):
        place = folder / dtype
        stored = StoredUpstream(upstream, Settings(place, 1e12, "hf", dtype, None, "cpu"))
        first = timed(lambda stored=stored: stored.states(wavs, featurizer, False))
        second = min(timed(lambda stored=stored: stored.states(wavs, featurizer, False)) for _ in range(3))
        size = sum(path.stat().st_size for path in place.glob("*/*/*")) / 1e6
        print(f"{first:8.2f} s  first epoch with a store in {dtype} ({size:.0f} MB)")
        print(f"{second:8.2f} s  second epoch, {without / second:.0f} times as fast as without")


if __name__ == "__main__":
    raise SystemExit(main())

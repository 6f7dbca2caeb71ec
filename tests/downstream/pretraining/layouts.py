"""A folder of sounds that anybody can predict: tones whose pitch and loudness swing regularly, in a little noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from tests.support.configs import counted_in_updates

TASKS = Path(__file__).resolve().parents[3] / "downstream"
RATE = 16000
DATA = "config.downstream_expert.datarc"
UPSTREAM = "config.downstream_expert.upstream_config"
PARAS = f"{UPSTREAM}.model.paras"
SMALL = {
    "apc": f"{PARAS}.hidden_size=24,,{PARAS}.num_layers=2",
    "vq_apc": f"{PARAS}.hidden_size=24,,{PARAS}.vq={{'codebook_size':[16],'code_dim':[24],'gumbel_temperature':0.5}}",
    "npc": f"{PARAS}.hidden_size=24,,{PARAS}.n_blocks=2,,{PARAS}.vq={{'codebook_size':[8,8],'code_dim':[12,12],'gumbel_temperature':1.0}}",
}
BERT = f"{UPSTREAM}.transformer.hidden_size=24,,{UPSTREAM}.transformer.num_attention_heads=2,,{UPSTREAM}.transformer.intermediate_size=32"
STUDENT = {
    "extractor_conv_feature_layers": "'[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2'",
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 48,
    "encoder_attention_heads": 4,
    "encoder_layers": 1,
    "conv_pos": 64,
    "final_dim": 32,
    "n_tasks": 2,
    "pred_layer_id": [1, 2],
}
SMALL["distiller"] = ",,".join(f"{UPSTREAM}.distiller.{field}={value}" for field, value in STUDENT.items())
SMALL |= dict.fromkeys(("mockingjay", "tera", "audio_albert"), BERT)


def sound(seconds: float, seed: int) -> np.ndarray:
    """Three harmonics whose pitch swings twice a second and whose loudness swings four times, from a random moment on."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE + rng.uniform(0, 1)
    phase = 2 * np.pi * np.cumsum(rng.uniform(400, 700) * (1 + 0.5 * np.sin(4 * np.pi * time))) / RATE
    tone = sum(np.sin(n * phase) / n for n in (1, 2, 3)) * (1.1 + np.sin(8 * np.pi * time))
    return (0.1 * tone + 0.003 * rng.standard_normal(len(time))).astype(np.float32)


def folder(place: Path, train: int = 6, dev: int = 3, seconds: tuple[float, float] = (0.5, 1.2)) -> Path:
    """``<place>/{train,dev}/speaker/<n>.wav``; one of dev at another rate and in stereo."""
    lengths = np.random.default_rng(0).uniform(*seconds, train + dev)
    for index, length in enumerate(lengths):
        path = place / ("train" if index < train else "dev") / "speaker" / f"{index}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        wav = sound(length, index)
        soundfile.write(path, np.stack([wav, wav], 1) if index == train else wav, 8000 if index == train else RATE)
    return place


def override(root: Path, name: str, *more: str) -> str:
    """A small network on such a folder."""
    data = [f"{DATA}.libri_root={root}", f"{DATA}.file_path=None", f"{DATA}.train=['train']", f"{DATA}.dev=['dev']"]
    data += [f"{DATA}.train_batch_size=2", f"{DATA}.eval_batch_size=2", f"{DATA}.max_timestep=0"]
    return ",,".join([*data, SMALL[name], *more])


def stepped(place: Path, name: str) -> Path:
    """The task's config without what it counts in epochs, so that a test can count in updates."""
    return counted_in_updates(TASKS / f"pretrain_{name}", place)

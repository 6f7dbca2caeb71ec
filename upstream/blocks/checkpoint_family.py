"""Which member of the convolution + Transformer family a checkpoint is of, as far as the file says.

The members differ in what no weight shows: the rule by which padded frames are masked. A file read by another member's entry would load
and give other states for padded batches, hence :func:`check_family`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from upstream.blocks.fairseq_files import FairseqModel
from utility.errors import CheckpointError

Family = Literal["wav2vec2", "hubert", "wavlm", "data2vec", "unispeech_sat"]

TITLES: dict[Family, str] = {
    "wav2vec2": "wav2vec 2.0",
    "hubert": "HuBERT",
    "wavlm": "WavLM",
    "data2vec": "data2vec",
    "unispeech_sat": "UniSpeech-SAT",
}
_NAMES: dict[str, Family] = {"wav2vec2": "wav2vec2", "hubert": "hubert", "contentvec": "hubert", "data2vec_audio": "data2vec"}
"""How fairseq's names of models and tasks begin. ``wav2vec_ctc`` is not among them: it is the name of every fine-tuned model."""

_RELATIVE = ("relative_attention_bias.", "self_attn.grep_")
_TEACHER = ("average_top_k_layers", "ema_decay", "ema_end_decay")


def check_family(file: FairseqModel, family: Family, path: Path | str) -> None:
    """Raises CheckpointError if the file is of another member than ``family``; one that says nothing is let pass."""
    found = family_of(file)
    if found is not None and found != family:
        raise CheckpointError(f"{path} is a {TITLES[found]} checkpoint, use -u {found}_local; its padding is masked by another rule here")


def family_of(file: FairseqModel) -> Family | None:
    """The member that a file is of; None where it says nothing.

    What only one member has goes first, relative positions; then names; then parts that serve the pre-training alone. The layout whose
    ``cfg`` is the model's settings themselves is that of Microsoft's two models, which grew from HuBERT's code: HuBERT's name and parts
    tell nothing there.
    """
    if file.model.get("relative_position_embedding") is True or any(part in name for name in file.weights for part in _RELATIVE):
        return "wavlm"
    named = next((family for name in _names(file) for start, family in _NAMES.items() if name.startswith(start)), None)
    if file.form == "cfg" and file.model is file.task:
        return {None: "unispeech_sat", "hubert": None}.get(named, named)
    return named or _by_parts(file)


def _names(file: FairseqModel) -> Iterator[str]:
    """Names of the model and its task, those of a fine-tuned model's pre-trained one first."""
    nested = file.model.get("w2v_args")
    for settings in (nested, file.model, file.task):
        if not isinstance(settings, Mapping):
            continue
        inner = [settings[part] for part in ("model", "task") if isinstance(settings.get(part), Mapping)]
        yield from (value for one in (*inner, settings) for value in _named(one))


def _named(settings: Mapping[str, Any]) -> Iterator[str]:
    yield from (settings[key] for key in ("_name", "arch", "task") if isinstance(settings.get(key), str))


def _by_parts(file: FairseqModel) -> Family | None:
    """What the parts say that serve the pre-training: data2vec's teacher, HuBERT's labels, wav2vec 2.0's quantiser."""
    if "_ema" in file.others or any(key in file.model for key in _TEACHER):
        return "data2vec"
    if file.symbols or any(name.endswith("label_embs_concat") for name in file.weights):
        return "hubert"
    return "wav2vec2" if any("quantizer." in name for name in file.weights) else None

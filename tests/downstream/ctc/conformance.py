"""The smallest forms of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.downstream.ctc.layouts import libriphone_override, snips_override
from tests.support.corpora import synthetic

VARIANTS = ("libriphone", "snips")
SMALL = (
    "config.downstream_expert.corpus.batch_size=4,,config.downstream_expert.model.project_dim=16,,config.downstream_expert.model.select={}"
)
ROOT = Path(__file__).resolve().parents[3]


def prepare(place: Path, variant: str) -> dict[str, str]:
    """The tiny synthetic corpora."""
    if variant == "libriphone":
        override = f"{libriphone_override(synthetic('librispeech', place))},,{SMALL.format('FrameLevel')}"
    else:
        options = "{'dim': [8], 'dropout': [0.2], 'total_rate': 320}"
        override = f"{snips_override(synthetic('snips', place))},,{SMALL.format('RNNs')},,config.downstream_expert.model.RNNs={options}"
    return {"upstream": "fbank", "config": str(ROOT / f"downstream/ctc/{variant}.yaml"), "override": override}

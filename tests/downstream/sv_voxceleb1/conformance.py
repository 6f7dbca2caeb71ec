"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.downstream.sv_voxceleb1.layouts import synthetic


def prepare(place: Path) -> dict[str, str]:
    """The tiny synthetic corpus and a narrow network."""
    small = (
        "config.runner.eval_dataloaders=['dev'],,config.downstream_expert.datarc.train_batch_size=4,,"
        "config.downstream_expert.datarc.eval_batch_size=3,,config.downstream_expert.datarc.max_timestep=20000,,"
        "config.downstream_expert.modelrc.input_dim=8,,config.downstream_expert.modelrc.module_config.XVector.agg_dim=8,,"
        "config.downstream_expert.modelrc.module_config.XVector.dropout_p=0.1"
    )
    return {"upstream": "fbank", "override": f"{synthetic(place).override},,{small}"}

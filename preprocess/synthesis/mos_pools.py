"""What the pools of MOS prediction have beside the sets of ``mos``: PSTN, SingMOS, Tencent and URGENT2024-MOS."""

from __future__ import annotations

from functools import partial

from preprocess.synthesis import mos_layouts
from preprocess.synthesis.build import Corpus
from preprocess.synthesis.mos import CORPUS as MOS
from preprocess.synthesis.mos import POOLS, plan, render

CORPUS = Corpus(
    name="mos_pools",
    roots=(*POOLS, "hidden_pools"),
    sizes=MOS.sizes,
    plan=partial(plan, names=POOLS),
    render=render,
    finish=partial(mos_layouts.write_lists, hidden="hidden_pools"),
)

"""SHEET's yaml as ``-c``: one stage of training, or of whatever the command line says, with this task's config for it."""

from __future__ import annotations

from utility.experiment.config import load_config
from utility.experiment.plan import Order, Plan, Stage

from .sheet import is_sheet, translated


def plan(order: Order) -> Plan | None:
    """The plan of a config of SHEET; None for one of ours. Upstream and state are the command line's (``-u``, ``-l``, ``-f``)."""
    config = load_config(order.source)
    if not is_sheet(config):
        return None
    args = order.args
    folder = args["expdir"] or f"result/downstream/{args['expname']}"
    stage = Stage(
        args["mode"], translated(config), folder, tuple(args["evaluate_split"]), args["init_ckpt"], args["past_exp"], args["device"]
    )
    return Plan((stage,), args["override"], resumes=args["auto_resume"])

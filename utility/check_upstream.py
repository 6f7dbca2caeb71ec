"""Tells the author of an upstream, in one page, whether it keeps the contract of upstream/README.md.

    python3 utility/check_upstream.py fbank
    python3 utility/check_upstream.py path/to/my_upstream -k model.pt -g config.yaml
    python3 utility/check_upstream.py mel --batch_independent True          other options go to the upstream

Each line is a check: ``ok``, ``FAIL`` with what was found and what was expected, or ``--`` where there is nothing to check. The exit status
is 0 if none failed, 1 if one did, 2 if the upstream cannot be built.
"""

from __future__ import annotations

import argparse
import sys

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import program
from utility.extract_features import upstream_options

DEFAULT_RATE = 16000


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description="check that an upstream keeps the contract", allow_abbrev=False)
    parser.add_argument("upstream", help="name of an upstream, NAME:CKPT, or the path of its folder")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:N or mps (default: what is there)")
    parser.add_argument("-k", "--ckpt", help="checkpoint of the upstream")
    parser.add_argument("-g", "--model_config", help="config of the upstream")
    args, rest = parser.parse_known_args(argv)
    options = upstream_options(rest)

    from downstream.runner import resolve_device
    from upstream import registry
    from upstream.contract import CHECKS, Subject, examine

    device = resolve_device(args.device)
    entry = registry.find(args.upstream)
    upstream = registry.build(args.upstream, args.ckpt, args.model_config, **options).to(device)
    print(f"{args.upstream}: {entry.record.description or entry.folder}")
    failed = 0
    for name, verdict, finding in examine(Subject(upstream, device, entry.record.sample_rate or DEFAULT_RATE)):
        failed += verdict == "FAIL"
        print(f"  {verdict:4}  {name:17}  {finding}", flush=True)
    print(f"{failed} of {len(CHECKS)} checks failed" if failed else f"all {len(CHECKS)} checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Prints the means and standard deviations of a recipe's results over its trainings, which differ in their seed.

python3 utils/print_seeds_results.py --tag ssl-mos-wav2vec2
python3 utils/print_seeds_results.py --tag mine --seeds 2337 3337 4337 [--results np_checkpoint-best/naive_knn] [--all_utt]

The trainings are exp/<tag>-<seed>. Only test sets that all of them have are in the table; which one lacks which is said on stderr.
"""

from __future__ import annotations

if __package__ in (None, ""):
    import _root  # noqa: F401

import argparse
from collections.abc import Sequence
from pathlib import Path

from downstream.mos_prediction.recipes.places import BEST
from downstream.mos_prediction.recipes.summary import print_seeds
from utility.errors import DataError, UnknownNameError, program


def trainings(root: Path, tag: str, seeds: Sequence[str] = ()) -> dict[str, Path]:
    """The trainings of a tag, or those of them with these seeds: their folders by seed, in the seeds' order.

    Raises:
        UnknownNameError: there is no training with the tag.
        DataError: there is none with one of the seeds.
    """
    pairs = [path.name.rpartition("-") for path in root.glob("*-*") if path.is_dir()]
    numbers = sorted((int(seed) for name, _, seed in pairs if name == tag and seed.isdecimal()))
    if not numbers:
        raise UnknownNameError(f"tag of {root}", tag, {name for name, _, seed in pairs if seed.isdecimal()})
    found = {str(seed): root / f"{tag}-{seed}" for seed in numbers}
    if missing := [seed for seed in seeds if seed not in found]:
        raise DataError(f"there is no training {root / f'{tag}-{missing[0]}'}; of this tag there are the seeds {', '.join(found)}")
    return {seed: found[seed] for seed in seeds or found}


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tag", required=True, help="of the trainings, or the stem of their config")
    parser.add_argument("--seeds", nargs="+", default=(), help="(default: all that are there)")
    parser.add_argument("--exp_root", type=Path, default=Path("exp"), help="where the trainings lie (default: exp)")
    stem = Path(BEST).stem
    parser.add_argument(
        "--results", default=stem, help=f"folder below each training's results, with a folder for each set (default: {stem})"
    )
    parser.add_argument("--all_utt", action="store_true", help="utterance level for synthetic speech too, in the headline")
    args = parser.parse_args(argv)
    found = trainings(args.exp_root, args.tag, args.seeds)
    print_seeds({seed: folder / "results" / args.results for seed, folder in found.items()}, args.all_utt)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

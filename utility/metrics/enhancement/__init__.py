"""How near an enhanced recording is to the clean one (spec: speech-enhancement.md part B).

Of one pair of waveforms: ``score_pair``; of many: ``score_pairs``, ``summarise`` and ``write_csv``.
"""

from utility.metrics.enhancement.many import Pair, score_pairs
from utility.metrics.enhancement.pair import HIGHER_IS_BETTER, METRICS, UNITS, score_pair
from utility.metrics.enhancement.report import Summary, summarise, write_csv

__all__ = ["HIGHER_IS_BETTER", "METRICS", "UNITS", "Pair", "Summary", "score_pair", "score_pairs", "summarise", "write_csv"]

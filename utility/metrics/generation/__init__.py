"""How good generated recordings are, by what a classifier thinks of them (spec: audio-generation.md 8).

All of it is a function of two arrays for each set of recordings: probabilities of the classes and activations of the last layer but one.
"""

from utility.metrics.generation.bins import BINS, TrainingBins, ndb_score
from utility.metrics.generation.frechet import frechet_distance
from utility.metrics.generation.inception import am_score, inception_score, modified_inception_score, released_inception_score
from utility.metrics.generation.report import HIGHER_IS_BETTER, UNITS, Outputs, measure
from utility.metrics.generation.thresholds import Tuned, tune_thresholds

__all__ = [
    "BINS",
    "HIGHER_IS_BETTER",
    "UNITS",
    "Outputs",
    "TrainingBins",
    "Tuned",
    "am_score",
    "frechet_distance",
    "inception_score",
    "measure",
    "modified_inception_score",
    "ndb_score",
    "released_inception_score",
    "tune_thresholds",
]

"""Negative log likelihood of scores under a predictor's uncertainty."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from utility.metrics.mos import NLL, gaussian_nll, laplace_nll


def test_as_the_densities_of_statistics():
    rng = np.random.default_rng(0)
    truth, predicted, logarithm = rng.uniform(1, 5, 50), rng.uniform(1, 5, 50), rng.normal(0, 1, 50)
    gaussian = -stats.norm.logpdf(truth, predicted, np.exp(logarithm / 2)).mean()
    assert gaussian_nll(truth, predicted, logarithm) == pytest.approx(gaussian, rel=1e-12)
    laplace = -stats.laplace.logpdf(truth, predicted, np.exp(logarithm)).mean()
    assert laplace_nll(truth, predicted, logarithm) == pytest.approx(laplace, rel=1e-12)
    assert set(NLL) == {"Gaussian", "Laplace"}


def test_the_true_spread_is_the_likeliest():
    truth = np.random.default_rng(1).normal(3, 0.5, 2000)
    found = [gaussian_nll(truth, [3.0] * 2000, [2 * np.log(spread)] * 2000) for spread in (0.25, 0.5, 1.0)]
    assert found[1] == min(found)

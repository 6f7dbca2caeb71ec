"""Valentini's noisy speech with 56 training speakers, as ``valentini`` writes it with 28."""

from __future__ import annotations

from preprocess.synthesis.valentini import SPEAKERS_56, corpus

CORPUS = corpus("valentini_56", SPEAKERS_56)

"""Embeddings of queries and of documents' segments: how alike they are, the loss of pairs, the scores of a search."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

LEAST_DEVIATION, ABOVE_MEAN, YES_ABOVE = 0.1, 0.5, 0.5


def best_of_pairs(embeddings: Tensor, counts: Sequence[int]) -> Tensor:
    """(B,): the highest cosine of each query with a segment of its document.

    Args:
        embeddings: (B + sum of counts, E): B queries, then the segments of their documents.
        counts: segments of each of the B documents.
    """
    queries, segments = embeddings.split([len(counts), sum(counts)])
    documents = segments.split(list(counts))
    return torch.stack([F.cosine_similarity(query, each).max() for query, each in zip(queries, documents, strict=True)])


def pair_losses(similarities: Tensor, labels: Tensor, margin: float) -> Tensor:
    """(B,): 1 - similarity of pairs labelled 1; what it is above the margin of those labelled -1."""
    return torch.where(labels > 0, 1 - similarities, (similarities - margin).relu())


def best_of_all(queries: Tensor, documents: Sequence[Tensor]) -> Tensor:
    """(Q, N): the highest cosine of each of Q queries, (Q, E), with a segment of each document, (segments, E)."""
    queries = F.normalize(queries, dim=-1)
    return torch.stack([(queries @ F.normalize(document, dim=-1).T).amax(dim=1) for document in documents], dim=1)


def normalised(similarities: Tensor) -> Tensor:
    """(Q, N): each query's row with mean 0.5 and standard deviation 1; zeros where the documents hardly differ (deviation below 0.1)."""
    if similarities.size(1) < 2:
        return torch.zeros_like(similarities)
    deviation, mean = torch.std_mean(similarities, dim=1, keepdim=True)
    scores = (similarities - mean) / (deviation + 1e-6) + ABOVE_MEAN
    return torch.where(deviation >= LEAST_DEVIATION, scores, torch.zeros_like(scores))

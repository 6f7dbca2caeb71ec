"""Codes are drawn in training as the logits say, and taken as the likeliest otherwise."""

from __future__ import annotations

import torch

from utility.networks.vector_quantizer import VectorQuantizer


def test_codes_are_drawn_by_their_probabilities_with_gradients_to_the_logits():
    torch.manual_seed(0)
    quantizer = VectorQuantizer(4, 6, 0.5)
    features = torch.randn(1, 4).expand(20000, 4).clone().requires_grad_()
    with torch.no_grad():
        quantizer.codebook_CxE.weight.copy_(torch.eye(4, 6))
        wanted = quantizer.vq_logits(features[0]).softmax(-1)
    codes = quantizer.train()(features)
    assert torch.allclose(codes.mean(0), wanted[:4], atol=0.02)
    codes[:, 0].sum().backward()
    assert features.grad.abs().sum() > 0
    likeliest = torch.eye(4, 6)[:, int(wanted.argmax())]
    assert torch.equal(quantizer.eval()(features[:3]), likeliest.expand(3, 4))

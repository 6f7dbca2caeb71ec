"""SSL-MOS: a score per frame of a fine-tuned speech representation (Cooper et al., ICASSP 2022; frame-wise head of SHEET)."""

from __future__ import annotations

from torch import Tensor, nn

from utility.training.fields import Count

from .parts import Answer, Conditions, FrameScores, Projection, over_frames


class SSLMOS(nn.Module):
    """One head on the features.

    Args:
        input_dim: D, width of the features.
        mean_net_dnn_dim: hidden width of the heads.
        mean_net_output_type: ``scalar`` or ``categorical``.
        mean_net_output_dim, mean_net_output_step: classes, and the distance of their scores.
        mean_net_range_clipping: keep scores within 1 to 5.
        use_additional_categorical_head: RAMP's second head, whose hidden width is ``mean_net_dnn_dim`` as well.
        categorical_head_output_dim, categorical_head_output_step: its classes.
        uncertain: predict a log variance too (``SSLMOS_U``).
    """

    def __init__(
        self,
        input_dim: int,
        mean_net_dnn_dim: Count = 64,
        mean_net_output_type: str = "scalar",
        mean_net_output_dim: Count = 5,
        mean_net_output_step: float = 0.25,
        mean_net_range_clipping: bool = True,
        use_additional_categorical_head: bool = False,
        categorical_head_output_dim: Count = 17,
        categorical_head_output_step: float = 0.25,
        uncertain: bool = False,
    ):
        super().__init__()
        self.mean_net_dnn = Projection(
            input_dim,
            mean_net_dnn_dim,
            output_type=mean_net_output_type,
            output_dim=mean_net_output_dim,
            output_step=mean_net_output_step,
            range_clipping=mean_net_range_clipping,
            uncertain=uncertain,
        )
        if use_additional_categorical_head:
            classes = {"output_dim": categorical_head_output_dim, "output_step": categorical_head_output_step}
            self.categorical_head = Projection(input_dim, mean_net_dnn_dim, output_type="categorical", **classes)
        self.has_classes = use_additional_categorical_head

    def forward(self, features: Tensor, conditions: Conditions, lengths: Tensor | None = None) -> FrameScores:
        """(B, T, D) -> scores of each frame."""
        mean, log_variance = self.mean_net_dnn(features)
        return FrameScores(mean, None, log_variance, self.categorical_head(features)[0] if self.has_classes else None)

    def answer(self, features: Tensor, conditions: Conditions, lengths: Tensor | None = None) -> Answer:
        """(B, T, D), of whose frames the first ``lengths`` count -> utterance scores."""
        frames = self(features, conditions)
        variance = None if frames.log_variance is None else over_frames(frames.log_variance, lengths)
        return Answer(over_frames(self.mean_net_dnn.scores(frames.mean), lengths), variance, frames.classes)

"""Fusion by one attention weight per stream."""

from numbers import Integral, Real

import torch
from torch import nn

from skmer.fusion._base import FusionClassifier
from skmer.modules import AttentionFusion
from skmer.utils._sklearn import Interval, StrOptions


class AttentionFusionClassifier(FusionClassifier):
    """Fuse streams by one attention weight each."""

    module = AttentionFusion
    _parameter_constraints: dict = {
        **{k: v for k, v in FusionClassifier._parameter_constraints.items()},
        "attention": [StrOptions({"joint", "per_stream"})],
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }
    del _parameter_constraints["module"]

    def __init__(
        self,
        *,
        attention="joint",
        hidden_size=128,
        dropout=0.3,
        streams=None,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        weight_decay=1e-5,
        max_epochs=30,
        batch_size=32,
        train_split=None,
        groups=None,
        patience=10,
        keep_epochs=False,
        class_weight=None,
        sampler=None,
        modality_dropout=0.0,
        gradient_clip_norm=None,
        gradient_clip_value=None,
        callbacks=None,
        warm_start=False,
        verbose=0,
        device="auto",
        random_state=None,
        **params,
    ):
        super().__init__(
            self.module,
            streams=streams,
            criterion=criterion,
            optimizer=optimizer,
            lr=lr,
            weight_decay=weight_decay,
            max_epochs=max_epochs,
            batch_size=batch_size,
            train_split=train_split,
            groups=groups,
            patience=patience,
            keep_epochs=keep_epochs,
            class_weight=class_weight,
            sampler=sampler,
            modality_dropout=modality_dropout,
            gradient_clip_norm=gradient_clip_norm,
            gradient_clip_value=gradient_clip_value,
            callbacks=callbacks,
            warm_start=warm_start,
            verbose=verbose,
            device=device,
            random_state=random_state,
            **params,
        )
        self.attention = attention
        self.hidden_size = hidden_size
        self.dropout = dropout

    def _module_params(self):
        return {
            **super()._module_params(),
            "attention": self.attention,
            "hidden_size": self.hidden_size,
            "dropout": self.dropout,
        }

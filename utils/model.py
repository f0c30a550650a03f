"""DistilBERT with a head of our own."""

from typing import ClassVar

import torch
from torch import nn
from transformers import DistilBertConfig, DistilBertModel, DistilBertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import can_return_tuple


class CustomHeadDistilBert(DistilBertPreTrainedModel):
    """DistilBERT, dropout, and one linear layer on the [CLS] state.

    There is no `_init_weights` here: the parent's initialises only what a checkpoint lacks, and
    one of our own would write over loaded weights.
    """

    # The masked-language head of a DistilBERT checkpoint is not needed, and no cause for worry.
    _keys_to_ignore_on_load_unexpected: ClassVar = [r"^vocab_(transform|layer_norm|projector)\."]

    # The loss is a plain mean: Trainer must not rescale it, nor pass a number of items on.
    accepts_loss_kwargs = False

    def __init__(self, config: DistilBertConfig):
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.dropout = nn.Dropout(config.seq_classif_dropout)
        self.head = nn.Linear(config.dim, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs,
    ) -> SequenceClassifierOutput:
        """Logits of shape (batch, classes) and, where labels (batch,) are given, cross-entropy.

        `input_ids` and `attention_mask` are (batch, tokens). With `output_hidden_states=True` or,
        under eager attention, `output_attentions=True` the backbone's come through.
        """
        outputs = self.distilbert(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            return_dict=True,
            **kwargs,
        )
        cls = outputs.last_hidden_state[:, 0]  # (batch, dim)
        logits = self.head(self.dropout(cls))  # (batch, classes)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

"""Batches of similar length in random order."""

from collections.abc import Iterator

import torch
from transformers import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler


class ShuffledBatches(LengthGroupedSampler):
    """transformers' batches of similar length, whole ones in random order.

    Its own order goes from the longest to the shortest in each 50 batches, so that for dozens of
    steps, before an evaluation too, the model learns from reviews of one length alone.
    """

    def __iter__(self) -> Iterator[int]:
        rows = list(super().__iter__())
        whole = len(rows) // self.batch_size
        order = torch.randperm(whole, generator=self.generator).tolist()
        for batch in [*order, whole]:  # what is left over stays the last one
            yield from rows[batch * self.batch_size : (batch + 1) * self.batch_size]


class ShuffledBatchesTrainer(Trainer):
    """A Trainer whose `group_by_length` shuffles its batches."""

    def _get_train_sampler(self, train_dataset=None):
        grouped = super()._get_train_sampler(train_dataset)
        return ShuffledBatches(grouped.batch_size, lengths=grouped.lengths)

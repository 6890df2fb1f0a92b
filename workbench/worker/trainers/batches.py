"""The order in which examples are learned: a function of seed and epoch alone, so that a resumed run sees the same batches."""

import random
from collections.abc import Iterator, Sequence


def batches(lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Shuffled batches of indices whose examples are of similar length, so that little is padding.

    Every index occurs exactly once. The longest batch comes first: should memory not suffice, it shows at once.
    """
    chance = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    chance.shuffle(order)
    pool = batch_size * 16
    made: list[list[int]] = []
    for start in range(0, len(order), pool):
        alike = sorted(order[start : start + pool], key=lambda index: lengths[index], reverse=True)
        made += [alike[at : at + batch_size] for at in range(0, len(alike), batch_size)]
    chance.shuffle(made)
    if made and epoch == 0:
        made.sort(key=lambda batch: max(lengths[index] for index in batch) != max(lengths))
    return made


class EpochSampler:
    """Indices in the order of `batches`, as a torch DataLoader wants them; `set_epoch` chooses the epoch.

    The batch sampler around it cuts the stream into equal pieces, so a short batch is moved to the end.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths, self._batch_size, self._seed = lengths, batch_size, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        made = batches(self._lengths, self._batch_size, seed=self._seed, epoch=self._epoch)
        made.sort(key=lambda batch: len(batch) < self._batch_size)
        return (index for batch in made for index in batch)

"""One thread: on tiny models a second one only costs."""

import torch

torch.set_num_threads(1)

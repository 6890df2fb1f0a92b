"""One thread: on tiny models a second one only costs."""

import torch

import workbench.runtime  # noqa: F401  (fixes the surroundings of the model libraries)

torch.set_num_threads(1)

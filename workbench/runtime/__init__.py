"""Models in one process: embedding, the knowledge index, generation and classification.

Importing this package fixes the surroundings of every model library before one is imported: no hub, no telemetry, no
parallel tokenizer threads behind our back, and no threads that spin while they wait: where all cores are busy, spinning made a
training step more than ten times slower.
"""

import os

for _name, _value in {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    "ANONYMIZED_TELEMETRY": "False",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TRANSFORMERS_VERBOSITY": "error",
}.items():
    os.environ.setdefault(_name, _value)

"""The audit ledger: from the outbox to a record that an outsider can verify.

A change writes its event into an outbox in its own transaction (`core.recording`). The sealer of the web process takes it
from there: into the segments (the truth), into DuckDB (to be asked), under a signed checkpoint (so that nobody can
take it back unseen). `verify.py` needs nothing of the workbench.
"""

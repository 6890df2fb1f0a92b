"""An application that uses Langfuse's SDK: decorated functions, a generation, a tool, scores."""

import os

from langfuse import Langfuse, get_client, observe, propagate_attributes
from shared import tell

langfuse = Langfuse(
    public_key="pk-anything", secret_key=os.environ["CLIENT_KEY"], base_url=os.environ["CLIENT_TRACES"], release="v-42"
)
assert langfuse.auth_check()


@observe(as_type="tool", name="find_card")
def find_card(customer: str) -> dict[str, str]:
    return {"status": "posted", "customer": customer}


@observe(as_type="generation", name="draft")
def draft(question: str) -> str:
    get_client().update_current_generation(
        input=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}],
        model="fake-large-2026-01",
        usage_details={"input": 21, "output": 6},
        cost_details={"input": 0.0001, "output": 0.0002},
    )
    return "It was posted on Monday."


@observe(name="support")
def support(question: str) -> str:
    find_card("c-7")
    answer = draft(question)
    get_client().score_current_trace(name="user-thumbs", value=1, data_type="BOOLEAN", comment="quick")
    get_client().score_current_span(name="tone", value="friendly", data_type="CATEGORICAL")
    made.append(get_client().get_current_trace_id() or "")
    return answer


made: list[str] = []
with propagate_attributes(
    user_id="user-4", session_id="session-4", tags=["cards"], trace_name="card support", environment="staging"
):
    support("When was my card posted?")
langfuse.create_score(name="correction", value="It was posted on Tuesday.", trace_id=made[0], data_type="CORRECTION")
langfuse.flush()
langfuse.shutdown()
tell(made[0])

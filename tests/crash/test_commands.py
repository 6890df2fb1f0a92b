"""kill -9 in the middle of a command: it is done wholly or not at all, and giving it again does it once.

A web process runs over the home and seals what is committed, as in a running workbench.
"""

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from sqlmodel import col, select

from tests.browser.walking import wait_for
from tests.crash.acts import ACTS, Arguments
from tests.crash.dying import COMMIT, COMMITTED, Victim
from tests.crash.house import ENTRIES, House
from tests.crash.record import (
    assert_everything_is_recorded_once,
    events_of_command,
    grown,
    has_receipt,
    ledger,
    rows_of,
)
from workbench.annotation.models import QueueItem, Response
from workbench.core.settings import REPOSITORY
from workbench.core.unit_of_work import Context
from workbench.knowledge.corpus import corpus_hash
from workbench.knowledge.models import CorpusCommit, CorpusHead, CorpusMembership, KnowledgeEntryVersion
from workbench.knowledge.queries import get_commit, members
from workbench.releases.models import Channel, ChannelMove
from workbench.releases.pins import high_water, is_withdrawn
from workbench.releases.signing import move_hash
from workbench.releases.verify import live

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("house") / "home")
    try:
        house.web.start()
        house.furnish()
        yield house
    finally:
        house.web.kill()
        house.services.context.database.dispose()


@pytest.mark.parametrize("act", ACTS)
def test_a_command_killed_before_any_of_its_writes_is_done_wholly_or_not_at_all_and_once_when_repeated(
    house: House, act: str
) -> None:
    context = house.services.context
    it = house.ready_for(act)
    before = rows_of(context)
    undisturbed = house.victim(it)
    assert undisturbed.wait() == 0
    points = [line["point"] for line in undisturbed.diary.read("point")]
    growth = grown(before, rows_of(context))
    events = events_of_command(context, it["command"])
    assert events
    assert points.count(COMMIT) == points.count(COMMITTED) == 1

    for point in points:
        it = house.ready_for(act)
        before = rows_of(context)
        victim = house.victim(it, die_at=point)
        assert victim.wait() == -9, f"{act} did not come to {point!r}"

        restarted = house.reopened()
        killed = rows_of(restarted.context)
        done = has_receipt(restarted.context, it["command"])
        assert done == (points.index(point) > points.index(COMMIT)), f"{act} killed before {point!r}"
        if done:
            assert grown(before, killed) == growth
        else:
            assert killed == before, f"{act} killed before {point!r} left something behind"
        assert_what_is_live_holds(restarted.context, house)

        ACTS[act](restarted, it)
        repeated = rows_of(restarted.context)
        assert grown(before, repeated) == growth
        if done:
            assert repeated == killed, f"{act} was done twice"
        assert events_of_command(restarted.context, it["command"]) == events
        assert_what_is_live_holds(restarted.context, house)
        if act in ("promote", "roll_back"):
            assert_the_keys_folder_knows_the_newest_move(restarted.context, house)
        if act == "reject":
            assert is_withdrawn(restarted.context.settings, it["shown"])
        restarted.context.database.dispose()
    assert_everything_is_recorded_once(context)


def test_edits_killed_at_any_moment_lose_and_double_nothing_that_was_acknowledged(house: House) -> None:
    context = house.services.context
    begun = begin_and_kill(house, {"loop": "edits"}, rounds=6, kill_the_web_in=3)
    assert_everything_is_recorded_once(context)  # waits for the web to seal what the last kill left
    with context.database.session() as session:
        texts = Counter(session.exec(select(KnowledgeEntryVersion.text)))
        published = Counter(str(event["command_id"]) for event in ledger(house.home))
        commits = list(session.exec(select(CorpusCommit).order_by(col(CorpusCommit.number))))
        head = session.get(CorpusHead, (house.project.id, "default"))
        spans = session.exec(select(CorpusMembership.from_number, CorpusMembership.version_id)).all()
        versions = {version.text: version for version in session.exec(select(KnowledgeEntryVersion))}
        assert all(texts[it["text"]] == 1 for it in begun)
        assert all(published[it["command"]] == 1 for it in begun)
        for it in begun:
            assert [version_id for _, version_id in spans].count(versions[it["text"]].id) == 1, "live in one commit on"

        assert [commit.number for commit in commits] == list(range(1, len(commits) + 1))
        assert [commit.parent_id for commit in commits] == [None, *(commit.id for commit in commits[:-1])]
        assert head is not None
        assert (head.commit_id, head.number) == (commits[-1].id, commits[-1].number)
        for commit in commits[-20:]:
            live_now = members(session, get_commit(session, house.project.id, commit.id))
            assert corpus_hash({version.entry_id: version.content_hash for version in live_now.values()}) == commit.content_hash
            assert len(live_now) == ENTRIES


def test_approvals_promotions_and_rollbacks_killed_at_any_moment_leave_no_state_in_between(house: House) -> None:
    context = house.services.context
    begun = begin_and_kill(house, {"loop": "releases", "prompts": [house.new_prompt() for _ in range(40)]}, rounds=4)
    with context.database.session() as session:
        moves = list(session.exec(select(ChannelMove).order_by(col(ChannelMove.number))))
    assert [move.number for move in moves] == list(range(1, len(moves) + 1))
    assert Counter(move.event_id for move in moves).most_common(1)[0][1] == 1
    done = [it for it in begun if it["act"] in ("promote", "roll_back")]
    assert all(has_receipt(context, it["command"]) for it in done)
    assert_the_keys_folder_knows_the_newest_move(context, house)
    assert_everything_is_recorded_once(context)


def test_submissions_killed_at_any_moment_are_each_counted_once(house: House) -> None:
    context = house.services.context
    queue_id = house.new_queue(400)
    begun = begin_and_kill(house, {"loop": "submissions", "queue": queue_id}, rounds=3)
    with context.database.session() as session:
        submitted = Counter(
            session.exec(select(Response.item_id).where(Response.queue_id == queue_id, Response.status == "submitted"))
        )
        items = list(session.exec(select(QueueItem).where(QueueItem.queue_id == queue_id)))
    assert submitted == Counter(it["item"] for it in begun)
    assert {item.id: item.submitted_count for item in items if item.submitted_count} == dict(submitted)
    assert {item.id for item in items if item.state == "done"} == set(submitted)
    assert_everything_is_recorded_once(context)


def test_an_outsider_and_the_doctor_find_nothing_wrong_after_all_this(house: House) -> None:
    house.web.kill()
    house.web.start()
    assert_everything_is_recorded_once(house.services.context)
    for command in (["audit", "verify"], ["doctor"]):
        ended = subprocess.run(
            [sys.executable, "-m", "workbench", *command, "--home", str(house.home)],
            cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout + ended.stderr


def begin_and_kill(house: House, loop: Arguments, *, rounds: int, kill_the_web_in: int | None = None) -> list[Arguments]:
    """Kill a victim in the middle of its commands, some times over; returns every command it began, the last ones repeated.

    What was acknowledged must be there after each kill, and of what was not, the last one at most.
    """
    chance = random.Random(11)
    begun: list[Arguments] = []
    for number in range(rounds):
        victim = house.victim({**house.everybody(), **loop})
        wait_for_lines(victim, "done", 3)
        if number == kill_the_web_in:
            house.web.kill()
        time.sleep(chance.random() * 0.3)  # The moment of the kill, not a wait for something.
        victim.kill()
        restarted = house.reopened()
        commands = [{**line, "command": line["begin"]} for line in victim.diary.read("begin")]
        acknowledged = {line["done"] for line in victim.diary.read("done")}
        assert [it["command"] in acknowledged for it in commands[:-1]] == [True] * (len(commands) - 1)
        for it in commands:
            assert has_receipt(restarted.context, it["command"]) or it["command"] not in acknowledged
        if number == kill_the_web_in:
            house.web.start()
        assert_what_is_live_holds(restarted.context, house)
        before = rows_of(restarted.context)
        was_done = has_receipt(restarted.context, commands[-1]["command"])
        ACTS[commands[-1]["act"]](restarted, commands[-1])
        assert (rows_of(restarted.context) == before) == was_done
        restarted.context.database.dispose()
        begun += commands
    return begun


def wait_for_lines(victim: Victim, key: str, count: int) -> None:
    """Until the victim's diary has so many lines of a kind."""
    wait_for(lambda: len(victim.diary.read(key)) >= count or victim.process.exitcode is not None, 120, every=0.005)


def assert_what_is_live_holds(context: Context, house: House) -> None:
    """Every signature holds, and the pointer is where its newest move says."""
    found = live(context, house.project.id)
    with context.database.session() as session:
        pointer = session.exec(select(Channel)).one()
        newest = session.exec(select(ChannelMove).order_by(col(ChannelMove.number).desc())).first()
    assert newest is not None
    assert (pointer.number, pointer.release_id) == (newest.number, newest.release_id)
    assert (found.move.id, found.release.id) == (newest.id, newest.release_id)


def assert_the_keys_folder_knows_the_newest_move(context: Context, house: House) -> None:
    with context.database.session() as session:
        newest = session.exec(select(ChannelMove).order_by(col(ChannelMove.number).desc())).first()
    mark = high_water(context.settings, house.project.id, "production")
    assert newest is not None
    assert mark is not None
    assert (mark.number, mark.move_hash) == (newest.number, move_hash(newest))

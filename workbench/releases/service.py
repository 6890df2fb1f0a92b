"""Commands over releases and channels."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy.exc
from sqlmodel import select

from workbench.core.actors import Actor, Permission
from workbench.core.clock import now
from workbench.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from workbench.core.unit_of_work import Service, UnitOfWork
from workbench.knowledge.policy import CorpusPolicy
from workbench.releases.channels import Moved, lock_channel, move_channel, rollback_target
from workbench.releases.components import check_components, check_light_components
from workbench.releases.deciding import check_may_decide, require_unaltered, sign_decision
from workbench.releases.models import PRODUCTION, Approval, Channel, ChannelMove, MoveKind, Release, ReleaseState
from workbench.releases.pins import HighWater, mark_withdrawn, raise_high_water
from workbench.releases.proposing import incumbent_of, make_release
from workbench.releases.sealing import SECONDS, require_sealed
from workbench.releases.signing import APPROVED, REJECTED, decision_statement, move_hash
from workbench.releases.verify import check_release, decisions_on
from workbench.serving.configuration import ServingConfiguration


@dataclass(frozen=True)
class Decision:
    """A signed decision."""

    release: Release
    approval: Approval
    sealed_seq: int | None
    """Place of its event in the ledger; None: not sealed within the waiting time, and not to be promoted before it is."""


class ReleaseService(Service):
    """Propose, decide, promote, roll back, withdraw."""

    sealing_seconds: float = SECONDS
    """How long a decision and a promotion wait for the ledger."""

    def propose(
        self,
        actor: Actor,
        configuration: ServingConfiguration,
        *,
        reason: str,
        name: str = "",
        comparison_ids: Sequence[str] = (),
        despite: str = "",
        publish: CorpusPolicy | None = None,
        channel: str = PRODUCTION,
        command_id: str | None = None,
    ) -> Release:
        """Propose a configuration as a release over what is live on the channel.

        Args:
            configuration: the components in all slots; its corpus commit is ignored, the corpus has its own head.
            reason: what it is meant to improve.
            comparison_ids: evidence to cite; fitting comparisons that are not named are found all the same.
            despite: why it is proposed although a verdict is not PASS, or a changed slot has no comparison.
            publish: who may make knowledge live under it; None: as in the live release.

        Raises:
            NotAllowed, InvalidInput, NotFound, Conflict, IntegrityError: see `proposing.make_release`.
        """
        with self.transaction(actor) as work:
            return self.propose_in(
                work, configuration, reason=reason, name=name, comparison_ids=comparison_ids, despite=despite,
                publish=publish, channel=channel, command_id=command_id,
            )  # fmt: skip

    def propose_in(
        self,
        work: UnitOfWork,
        configuration: ServingConfiguration,
        *,
        reason: str,
        name: str = "",
        comparison_ids: Sequence[str] = (),
        despite: str = "",
        publish: CorpusPolicy | None = None,
        channel: str = PRODUCTION,
        command_id: str | None = None,
    ) -> Release:
        """The same inside a transaction that does more, such as a workflow's."""
        work.require(Permission.PROPOSE_RELEASE, configuration.project_id)
        done = work.once(command_id)
        if done is not None:
            return work.get(Release, done["release_id"])
        release, is_new = make_release(
            self.context, work, candidate=configuration, channel=channel, name=name, reason=reason, despite=despite,
            comparison_ids=comparison_ids, publish=publish,
        )  # fmt: skip
        if is_new:
            manifest = release.manifest
            work.record(
                "releases.proposed", subject=release, reason=release.reason, number=release.number,
                manifest=release.manifest_hash, parent=manifest["parent"], slots=manifest["slots"], changed=manifest["changed"],
                evidence={item["comparison_id"]: item["verdict"] for item in manifest["evidence"]},
                unproven=sorted(manifest["unproven"]), despite=manifest["despite"],
            )  # fmt: skip
        work.remember(release_id=release.id)
        return release

    def approve(
        self,
        actor: Actor,
        release_id: str,
        *,
        password: str,
        shown: str,
        justification: str = "",
        command_id: str | None = None,
    ) -> Decision:
        """Sign an approval with one's password.

        Args:
            shown: hash of the manifest that the person saw; another one is refused.
            justification: needed where a verdict is inconclusive or a slot unproven.

        Raises:
            NotAllowed: no reviewer, a maker of the release, or a wrong password.
            Conflict: decided already, changed meanwhile, or a comparison failed.
            InvalidInput: the justification is missing.
            IntegrityError: manifest or evidence were altered.
        """
        return self._decide(actor, release_id, APPROVED, password, shown, justification.strip(), command_id)

    def reject(
        self, actor: Actor, release_id: str, *, password: str, shown: str, reason: str, command_id: str | None = None
    ) -> Decision:
        """Sign a rejection with one's password. A rejected release never goes live. Raises as `approve` does."""
        return self._decide(actor, release_id, REJECTED, password, shown, reason.strip(), command_id)

    def _decide(
        self, actor: Actor, release_id: str, meaning: str, password: str, shown: str, reason: str, command_id: str | None
    ) -> Decision:
        with self.context.database.session() as session:
            release = session.get(Release, release_id)
            if release is None:
                raise NotFound(f"There is no release with the id {release_id!r}.")
            self.context.authorizer.require(actor, Permission.APPROVE_RELEASE, release.project_id)
            repeated = any(d.person_id == actor.id and d.meaning == meaning for d in decisions_on(session, release.id))
            if not (repeated and command_id):
                check_may_decide(session, actor, release, meaning=meaning, shown=shown, reason=reason)
        if meaning == APPROVED:
            require_unaltered(self.context, release)
        signature = sign_decision(self.context, actor, release, meaning=meaning, reason=reason, password=password)
        with self.transaction(actor) as work:
            work.require(Permission.APPROVE_RELEASE, release.project_id)
            done = work.once(command_id)
            release = work.get(Release, release_id, lock=True)
            if done is None:
                check_may_decide(work.session, actor, release, meaning=meaning, shown=shown, reason=reason)
                statement = decision_statement(release, meaning=meaning, reason=reason)
                event_id = work.record(
                    f"releases.{meaning}", subject=release, reason=reason, number=release.number,
                    manifest=release.manifest_hash, signing_key=signature.key_id,
                    statement=signature.statement_hash, signature=signature.value,
                )  # fmt: skip
                approval = Approval(
                    project_id=release.project_id, release_id=release.id, person_id=signature.person_id,
                    person_name=signature.printed_name, meaning=meaning, reason=reason, statement=statement,
                    signature=signature.as_json(), event_id=event_id,
                )  # fmt: skip
                work.add(approval)
                release.state = self._state_after(work, release, meaning).value
                release.decided_at = approval.at
                work.add(release)
                work.remember(approval_id=approval.id)
            else:
                approval = work.get(Approval, done["approval_id"])
        if meaning == REJECTED:
            mark_withdrawn(self.context.settings, release.manifest_hash)
        return Decision(release, approval, self._sealed(approval.event_id))

    @staticmethod
    def _state_after(work: UnitOfWork, release: Release, meaning: str) -> ReleaseState:
        if meaning == REJECTED:
            return ReleaseState.REJECTED
        people = {d.person_id for d in decisions_on(work.session, release.id) if d.meaning == APPROVED}
        enough = len(people) >= release.manifest["approval_policy"]["needed"]
        return ReleaseState.APPROVED if enough else ReleaseState.PROPOSED

    def withdraw(self, actor: Actor, release_id: str, *, reason: str, command_id: str | None = None) -> Release:
        """Take a release back, proposed or approved, for good. Its proposer and any reviewer may.

        Raises:
            InvalidInput: no reason.
            Conflict: it is live, or was decided against already.
        """
        if not reason.strip():
            raise InvalidInput("A withdrawal needs a reason.")
        with self.transaction(actor) as work:
            release = work.get(Release, release_id, lock=True)
            proposer = actor.id == release.proposed_by
            work.require(Permission.PROPOSE_RELEASE if proposer else Permission.APPROVE_RELEASE, release.project_id)
            if work.once(command_id) is None:
                if release.status.is_terminal:
                    raise Conflict(f"Release {release.number} is already {release.state}.")
                for channel in work.session.exec(
                    select(Channel).where(Channel.project_id == release.project_id).with_for_update()
                ):
                    if release.id in (channel.release_id, channel.canary_release_id):
                        raise Conflict(
                            f"Release {release.number} is live on {channel.name}.", todo="Roll back first, then withdraw it."
                        )
                release.state, release.decided_at = ReleaseState.WITHDRAWN.value, now()
                release.withdrawn_by, release.withdrawn_by_name = actor.id, actor.name
                release.withdrawn_reason = reason.strip()
                work.add(release)
                work.record(
                    "releases.withdrawn", subject=release, reason=reason.strip(), number=release.number,
                    manifest=release.manifest_hash,
                )  # fmt: skip
                work.remember(release_id=release.id)
        mark_withdrawn(self.context.settings, release.manifest_hash)
        return release

    def promote(
        self,
        actor: Actor,
        release_id: str,
        *,
        reason: str = "",
        channel: str = PRODUCTION,
        expected_move: int | None = None,
        command_id: str | None = None,
    ) -> Moved:
        """Make an approved release the incumbent of a channel.

        Args:
            expected_move: number of the channel's newest move that the person saw; another one is refused.

        Raises:
            NotAllowed: no operator.
            Conflict: not approved, proposed over another release than what is live, or the channel moved meanwhile.
            NotFound, IntegrityError: a component, a signature or what is live does not hold.
            Unavailable: the ledger did not seal the approval in time; nothing was promoted.
        """
        with self.context.database.session() as session:
            release = session.get(Release, release_id)
            if release is None:
                raise NotFound(f"There is no release with the id {release_id!r}.")
            self.context.authorizer.require(actor, Permission.PROMOTE_RELEASE, release.project_id)
            approvals = check_release(self.context.settings, session, release)
            project_id, manifest = release.project_id, release.manifest
            check_components(self.context, session, release.configuration)
        for approval in approvals:
            require_sealed(self.context, approval.event_id, seconds=self.sealing_seconds)
        with self.transaction(actor) as work:
            work.require(Permission.PROMOTE_RELEASE, project_id)
            done = work.once(command_id)
            if done is not None:
                return Moved(work.get(ChannelMove, done["move_id"]), work.get(Release, release_id))
            lock_channel(work.session, project_id, channel)
            release = work.get(Release, release_id, lock=True)
            check_release(self.context.settings, work.session, release)
            incumbent = incumbent_of(self.context, work.session, project_id, channel)
            if incumbent is not None and incumbent.release.id == release.id:
                raise Conflict(f"Release {release.number} is live already.")
            if manifest["parent"] != (incumbent.release.manifest_hash if incumbent else None):
                over = f"release {incumbent.release.number} is live" if incumbent else "nothing is live"
                raise Conflict(
                    f"Release {release.number} was proposed over another release than what is live.",
                    why=f"Now {over}; promoting would silently undo what changed in between, and nobody approved that.",
                    todo="Propose it again over what is live.",
                )
            moved = move_channel(
                self.context, work, release, kind=MoveKind.PROMOTED, channel=channel, reason=reason.strip(),
                expected=expected_move,
            )  # fmt: skip
        self._settle(moved.move)
        self._sealed(moved.move.event_id)
        return moved

    def rollback(
        self,
        actor: Actor,
        project_id: str,
        *,
        reason: str,
        channel: str = PRODUCTION,
        to: str | None = None,
        expected_move: int | None = None,
        command_id: str | None = None,
    ) -> Moved:
        """Put an earlier release back, at once: it waits for no approval and not for the ledger.

        It works on a channel whose rows were altered too; that is how such a channel is repaired.

        Args:
            to: a release that was live on this channel before; None: the one that the present one replaced.

        Raises:
            NotAllowed: no operator.
            InvalidInput: no reason.
            Conflict: nothing to go back to, or the channel moved meanwhile.
            NotFound, IntegrityError: the earlier release or one of its adapters does not hold.
        """
        if not reason.strip():
            raise InvalidInput("A rollback needs a reason.", todo="One sentence is enough, such as “wrong fee in answers”.")
        with self.transaction(actor) as work:
            work.require(Permission.ROLL_BACK_RELEASE, project_id)
            done = work.once(command_id)
            if done is not None:
                move = work.get(ChannelMove, done["move_id"])
                return Moved(move, work.get(Release, move.release_id))
            lock_channel(work.session, project_id, channel)
            release = rollback_target(self.context, work.session, project_id, channel, to)
            check_light_components(self.context, work.session, release.configuration)
            moved = move_channel(
                self.context, work, release, kind=MoveKind.ROLLED_BACK, channel=channel, reason=reason.strip(),
                expected=expected_move,
            )  # fmt: skip
        self._settle(moved.move)
        return moved

    def _settle(self, move: ChannelMove) -> None:
        mark = HighWater(move.number, move_hash(move))
        raise_high_water(self.context.settings, move.project_id, move.channel, mark)

    def _sealed(self, event_id: str) -> int | None:
        try:
            return require_sealed(self.context, event_id, seconds=self.sealing_seconds)
        except Unavailable:
            return None

    @contextmanager
    def transaction(self, actor: Actor) -> Iterator[UnitOfWork]:
        """A unit of work in which losing a race against somebody else is a Conflict."""
        try:
            with self.unit_of_work(actor) as work:
                yield work
        except sqlalchemy.exc.IntegrityError as error:
            raise Conflict("Somebody else did the same at this moment.", todo="Reload the page and look again.") from error

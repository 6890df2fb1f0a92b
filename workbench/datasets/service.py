"""Commands over dataset versions."""

import json
from collections.abc import Sequence

from sqlalchemy import func
from sqlmodel import Session, col, select

from workbench.core.actors import Actor, Permission
from workbench.core.clock import now
from workbench.core.errors import Conflict, InvalidInput
from workbench.core.runtime_client import RuntimeClient
from workbench.core.unit_of_work import CommandReceipt, Service, UnitOfWork
from workbench.datasets import queries
from workbench.datasets.builder import Collected, PromptOf, collect
from workbench.datasets.checks import Check, Embedder, Level, examine
from workbench.datasets.models import DatasetExample, DatasetVersion
from workbench.datasets.prompting import prompt_builder
from workbench.datasets.rows import leaf_of_row, root_hash
from workbench.datasets.settings import BuildSettings
from workbench.datasets.verify import verify
from workbench.golden.leaks import find_leaks
from workbench.golden.queries import texts as golden_texts
from workbench.prompts.queries import by_hash


class DatasetService(Service):
    """Build, freeze, discard and export dataset versions."""

    def preview(
        self, actor: Actor, project_id: str, settings: BuildSettings, *, prompt_of: PromptOf | None = None
    ) -> tuple[Collected, list[Check]]:
        """What `build` would make, without the check by meaning, and without storing anything."""
        with self.context.reading(actor, project_id) as session:
            return self._collect(session, project_id, settings, prompt_of, None)

    def build(
        self,
        actor: Actor,
        project_id: str,
        settings: BuildSettings,
        *,
        name: str,
        prompt_of: PromptOf | None = None,
        embedder: Embedder | None = None,
        command_id: str | None = None,
    ) -> DatasetVersion:
        """Make a version from the responses submitted up to now, run the checks, and store both. Freeze it to train on it.

        Args:
            prompt_of: None assembles with `settings.prompt_version`.
            embedder: None asks the runtime.

        Raises:
            InvalidInput: no name, nothing to learn from, or no prompt version for generation.
            Conflict: the newest version of the name has the same content.
        """
        name = name.strip()
        if not name or len(name) > 80:
            raise InvalidInput("A dataset needs a name of at most 80 characters.")
        self.context.authorizer.require(actor, Permission.BUILD_DATASETS, project_id)
        if (earlier := self._built_before(command_id)) is not None:
            return earlier
        # Read, embed and check before the transaction: it holds the only write lock and must be short.
        with self.context.reading(actor, project_id) as session:
            found, checks = self._collect(
                session, project_id, settings, prompt_of, embedder or RuntimeClient(self.context.settings)
            )
        if not found.rows:
            reasons = next(check.text for check in checks if check.name == "Left out") if found.excluded else ""
            raise InvalidInput(
                "There is nothing to learn from.",
                why=reasons or "No submitted response fits the settings.",
                todo="Widen the settings, or annotate first.",
            )
        leaves = [leaf_of_row(row) for row in found.rows]
        with self.unit_of_work(actor) as work:
            if (done := work.once(command_id)) is not None:
                return work.get(DatasetVersion, done["dataset_id"])
            work.require(Permission.BUILD_DATASETS, project_id)
            previous = self._newest(work, project_id, name)
            version = self._version(work, project_id, name, settings, found, checks, root_hash(leaves), previous)
            work.session.add_all(
                DatasetExample(
                    project_id=project_id, dataset_id=version.id, position=position, content=row.content,
                    leaf_hash=leaves[position], trace_id=row.trace_id, response_id=row.response_id, person_id=row.person_id,
                    responses=row.responses, people=row.people, consent=row.consent, language=row.language, split=row.split,
                    notes=row.notes,
                )
                for position, row in enumerate(found.rows)
            )  # fmt: skip
            work.session.flush()
            work.record(
                "datasets.built", subject=version, name=name, number=version.number, task=settings.task,
                content_hash=version.content_hash, rows=version.rows, excluded=len(found.excluded), settings=settings.as_json(),
                previous=previous.content_hash if previous else None,
            )  # fmt: skip
            work.remember(dataset_id=version.id)
            return version

    def freeze(
        self, actor: Actor, dataset_id: str, *, content_hash: str, reason: str = "", command_id: str | None = None
    ) -> DatasetVersion:
        """Freeze a version under its hash; from then on it can be trained on.

        Args:
            content_hash: as the person saw it, so that nobody freezes something else than they looked at.
            reason: needed when a check asks for one.

        Raises:
            Conflict: another hash, already discarded, or a check that stops it.
            InvalidInput: a check asks for a reason.
            IntegrityError: the rows do not have the hash.
        """
        with self.unit_of_work(actor) as work:
            if (done := work.once(command_id)) is not None:
                return work.get(DatasetVersion, done["dataset_id"])
            version = work.get(DatasetVersion, dataset_id, lock=True)
            work.require(Permission.BUILD_DATASETS, version.project_id)
            if version.content_hash != content_hash:
                raise Conflict("The version has another hash than the one you saw.", todo="Reload the page.")
            if version.discarded_at is not None:
                raise Conflict("The version was discarded.", todo="Build it again.")
            if version.frozen_at is None:
                verify(work.session, version)
                self._require_checks(work.session, version, reason)
                version.frozen_at, version.frozen_by, version.frozen_reason = now(), actor.id, reason.strip()
                work.add(version)
                work.record(
                    "datasets.frozen", subject=version, reason=reason.strip(), content_hash=version.content_hash,
                    rows=version.rows, name=version.name, number=version.number,
                )  # fmt: skip
            work.remember(dataset_id=version.id)
            return version

    def discard(self, actor: Actor, dataset_id: str, *, reason: str = "") -> DatasetVersion:
        """Put away a version that was never frozen. It stays in the record.

        Raises:
            Conflict: it is frozen.
        """
        with self.unit_of_work(actor) as work:
            version = work.get(DatasetVersion, dataset_id, lock=True)
            work.require(Permission.BUILD_DATASETS, version.project_id)
            if version.frozen_at is not None:
                raise Conflict("A frozen version stays: adapters may name it.")
            if version.discarded_at is None:
                version.discarded_at = now()
                work.add(version)
                work.record("datasets.discarded", subject=version, reason=reason, content_hash=version.content_hash)
            return version

    def export(self, actor: Actor, dataset_id: str, *, split: str | None = None, origin: bool = False) -> bytes:
        """A version as JSON Lines, checked against its hash; the export is recorded.

        Args:
            origin: add trace, responses, people, consent, language and split to each line.
        """
        with self.unit_of_work(actor) as work:
            version = work.get(DatasetVersion, dataset_id)
            work.require(Permission.BUILD_DATASETS, version.project_id)
            verify(work.session, version)
            rows = [row for row in queries.examples(work.session, dataset_id, split) if row.content]
            lines = [json.dumps(_line(row, origin), ensure_ascii=False) for row in rows]
            work.record(
                "datasets.exported", subject=version, content_hash=version.content_hash, split=split or "all", rows=len(lines),
                with_origin=origin,
            )  # fmt: skip
        return "".join(line + "\n" for line in lines).encode()

    def _built_before(self, command_id: str | None) -> DatasetVersion | None:
        """What the command made when it was carried out before, without reading and embedding everything again."""
        with self.context.database.session() as session:
            receipt = session.get(CommandReceipt, command_id) if command_id else None
            return session.get(DatasetVersion, receipt.result["dataset_id"]) if receipt else None

    @staticmethod
    def erase_traces(work: UnitOfWork, project_id: str, trace_ids: Sequence[str]) -> int:
        """Empty every row made from these traces, inside the transaction that erases a person; returns how many.

        Each row leaves its leaf, so the versions keep their hashes. What names the responses behind it goes too: they make the
        leaf of a short text unguessable.
        """
        statement = select(DatasetExample).where(
            DatasetExample.project_id == project_id, col(DatasetExample.trace_id).in_(trace_ids)
        )
        rows = [row for row in work.session.exec(statement) if row.erased_at is None]
        for row in rows:
            row.content, row.notes, row.responses, row.response_id, row.erased_at = {}, [], [], "", now()
            work.session.add(row)
        work.session.flush()
        for dataset_id in sorted({row.dataset_id for row in rows}):
            number = sum(row.dataset_id == dataset_id for row in rows)
            work.record("datasets.rows_erased", subject=("dataset_version", dataset_id), project_id=project_id, rows=number)
        return len(rows)

    def _collect(
        self,
        session: Session,
        project_id: str,
        settings: BuildSettings,
        prompt_of: PromptOf | None,
        embedder: Embedder | None,
    ) -> tuple[Collected, list[Check]]:
        if settings.task == "generation" and prompt_of is None:
            if not settings.prompt_version:
                raise InvalidInput("Choose the prompt version that the model will be asked with.")
            content = by_hash(session, project_id, settings.prompt_version).content
            prompt_of = prompt_builder(session, project_id, content, settings.passages)
        found = collect(session, project_id, settings, prompt_of)
        return found, examine(found, settings, golden_texts(session, project_id), embedder)

    @staticmethod
    def _version(
        work: UnitOfWork,
        project_id: str,
        name: str,
        settings: BuildSettings,
        found: Collected,
        checks: Sequence[Check],
        content_hash: str,
        previous: DatasetVersion | None,
    ) -> DatasetVersion:
        if previous is not None and previous.content_hash == content_hash and previous.discarded_at is None:
            raise Conflict(
                f"Nothing has changed: {name} v{previous.number} holds exactly these rows.", todo="Use that version."
            )
        statement = select(func.max(DatasetVersion.number)).where(
            DatasetVersion.project_id == project_id, DatasetVersion.name == name
        )
        held_out = sum(row.split == "validation" for row in found.rows)
        return work.add(
            DatasetVersion(
                project_id=project_id, name=name, number=(work.session.exec(statement).one() or 0) + 1, task=settings.task,
                content_hash=content_hash, rows=len(found.rows), train_rows=len(found.rows) - held_out,
                validation_rows=held_out, settings=settings.as_json(), checks=[check.as_json() for check in checks],
                excluded=[each.as_json() for each in found.excluded], previous_id=previous.id if previous else None,
                created_by=work.actor.id, created_by_name=work.actor.name,
            )
        )  # fmt: skip

    @staticmethod
    def _newest(work: UnitOfWork, project_id: str, name: str) -> DatasetVersion | None:
        statement = select(DatasetVersion).where(DatasetVersion.project_id == project_id, DatasetVersion.name == name)
        statement = statement.where(col(DatasetVersion.discarded_at).is_(None))
        return work.session.exec(statement.order_by(col(DatasetVersion.number).desc()).limit(1)).first()

    @staticmethod
    def _require_checks(session: Session, version: DatasetVersion, reason: str) -> None:
        """The stored checks hold, and no golden case added since then is in the rows."""
        stops = [check["text"] for check in version.checks if check["level"] == Level.STOP]
        rows = queries.examples(session, version.id)
        texts = ["\n".join(map(str, row.content.values())) for row in rows]
        if find_leaks(texts, golden_texts(session, version.project_id)) and not stops:
            stops.append("A golden set has changed since the build and shares text with these rows.")
        if stops:
            raise Conflict("This version cannot be frozen.", why=" ".join(stops), todo="Build it again without these rows.")
        asks = [check["text"] for check in version.checks if check["level"] == Level.REASON]
        if asks and len(reason.strip()) < 10:
            raise InvalidInput("Freezing this version takes a reason.", why=" ".join(asks), todo="Write it in a sentence.")


def _line(row: DatasetExample, origin: bool) -> dict[str, object]:
    if not origin:
        return dict(row.content)
    return {
        **row.content, "trace_id": row.trace_id, "responses": row.responses, "people": row.people, "consent": row.consent,
        "language": row.language, "split": row.split, "leaf_hash": row.leaf_hash,
    }  # fmt: skip

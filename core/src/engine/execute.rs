//! Executing steps: each is repeatable; the journal says what was meant; what boots changes only in [`Run::publish`].

use std::collections::BTreeSet;

use super::{
    DeploymentRecord, Engine, Intent, Observed, Operation, StagedRecord, Step, Target, defaults,
    journal::Publication, units, verbs::ImageRequest,
};
use crate::{
    boot_files::short_of_space,
    error::{Effect, Error, ErrorKind, Result},
    model::{
        BootPlan, BootState, DeploymentId, EntrySpec, KernelArtifacts, PlannedEntry, ProgressEvent,
        PublishedEntry, Removed,
    },
    tree::TreeReader,
};

/// How often a new deployment may be tried before it must have proved good.
const TRIES: u32 = 3;

/// One execution of one plan.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub engine: &'a Engine,
    pub operation: &'a Operation,
    pub image: Option<&'a ImageRequest>,
    pub prepared: Option<DeploymentId>,
    pub removed: Removed,
    effect: Effect,
    /// Whether nothing was left to be cleaned up when it first changed the store.
    was_clean: bool,
}

type Addition = (Vec<PlannedEntry>, Option<Box<dyn TreeReader>>);
/// A plan, and the tree of what it adds.
type Planned = (BootPlan, Option<Box<dyn TreeReader>>);

impl<'a> Run<'a> {
    pub fn new(engine: &'a Engine, operation: &'a Operation, image: Option<&'a ImageRequest>) -> Self {
        let (removed, effect) = (Removed::default(), Effect::None);
        Self { engine, operation, image, prepared: None, removed, effect, was_clean: false }
    }

    /// Comes before whatever may leave something in the store that a clean-up has to find.
    fn will_change_store(&mut self) -> Result<()> {
        let state = &self.engine.parts.state;
        // Asked before: if it is only not known whether that is durable, it is forgotten all the same.
        self.was_clean |= state.clean()?.is_some();
        state.forget_clean()
    }

    /// Runs all steps under the journal.
    pub async fn all(&mut self, steps: &[Step]) -> Result<()> {
        if steps.is_empty() {
            return Ok(());
        }
        let state = &self.engine.parts.state;
        state.set_journal(Some(&self.intent(None)))?;
        for step in steps {
            tracing::debug!(?step, "step");
            self.one(step).await.map_err(|error| error.with_effect(self.effect))?;
        }
        state.set_journal(None)
    }

    fn intent(&self, publication: Option<Publication>) -> Intent {
        Intent { operation: self.operation.name().to_owned(), publication }
    }

    async fn one(&mut self, step: &Step) -> Result<()> {
        let parts = &self.engine.parts;
        match step {
            Step::Initialize => parts.backend.initialize().await,
            Step::Fetch => self.fetch().await,
            Step::Prepare => self.prepare().await,
            Step::Stage { hold } => self.stage_record(*hold).await,
            Step::DropStaged => parts.state.set_staged(None),
            Step::Refresh => self.engine.refresh_for_the_next().await,
            Step::Settle(keep) => self.settle(keep).await,
            Step::Finalize(target) => self.finalize(target).await,
            Step::InstallLoader(target) => self.install_loader(target).await,
            Step::UpdateLoader(target) => match self.install_loader(target).await {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported) => {
                    tracing::warn!(%error, "the loader stays as it is");
                    Ok(())
                }
                result => result,
            },
            Step::Publish(order) => self.publish(order).await,
            Step::Abandon(id) => self.engine.record_rollback(id).await,
            Step::Confirm(id) => parts.loader.confirm(id).await,
            Step::Prove(id) => self.engine.prove(id).await,
            Step::Discard(id) => self.discard(id).await,
            Step::Retain(keep) => self.retain(keep).await,
            Step::Sweep(keep) => parts.loader.sweep(keep).await.map(|removed| self.removed.add(removed)),
        }
    }

    async fn install_loader(&self, target: &Target) -> Result<()> {
        let parts = &self.engine.parts;
        let tree = parts.backend.tree(&self.resolve(target)?).await?;
        parts.loader.install(&*tree).await
    }

    fn resolve(&self, target: &Target) -> Result<DeploymentId> {
        match target {
            Target::Known(id) => Ok(id.clone()),
            Target::Prepared => self
                .prepared
                .clone()
                .ok_or_else(|| Error::internal("a plan used a deployment before making it")),
        }
    }

    fn request(&self) -> Result<&'a ImageRequest> {
        self.image.ok_or_else(|| Error::internal("a plan fetches, but no image was given"))
    }

    async fn fetch(&mut self) -> Result<()> {
        self.will_change_store()?;
        let request = self.request()?;
        let parts = &self.engine.parts;
        let pinned = parts.backend.fetch(&request.summary, &*parts.progress).await?;
        if pinned.manifest_digest != request.summary.manifest_digest {
            return Err(Error::integrity("the image changed while it was being fetched")
                .with_context("looked up", &request.summary.manifest_digest)
                .with_context("fetched", &pinned.manifest_digest)
                .with_hint("run the command again"));
        }
        Ok(())
    }

    async fn prepare(&mut self) -> Result<()> {
        self.will_change_store()?;
        let request = self.request()?;
        let parts = &self.engine.parts;
        let deployment = parts.backend.prepare(&request.spec()).await?;
        let mut record = parts.state.record(&deployment.id)?;
        record.sequence = self.engine.observe().await?.next_sequence();
        record.machine_args = request.machine_args.clone();
        record.signature_policy = request.signature_policy;
        if *self.operation == Operation::Install {
            self.ask_image(&deployment.id, &mut record).await?;
        }
        record.user_args = request.user_args.clone();
        parts.state.set_record(&deployment.id, &record)?;
        // Better refused now than at shutdown, when nobody looks.
        self.engine.entry_spec(&deployment.id).await?;
        self.warn_of_missing_units(&deployment.id).await?;
        self.prepared = Some(deployment.id);
        Ok(())
    }

    /// Not refused: an administrator may enable them, or call the program from other units.
    async fn warn_of_missing_units(&self, id: &DeploymentId) -> Result<()> {
        let tree = self.engine.parts.backend.tree(id).await?;
        let missing = units::missing(&*tree).await?;
        if !missing.is_empty() {
            let units = missing.join(", ");
            tracing::warn!(
                "the image does not enable {units}: a system made of it cannot upgrade itself, or not safely"
            );
        }
        Ok(())
    }

    /// An install asks the image as well; later deployments take over what the first one had.
    async fn ask_image(&self, id: &DeploymentId, record: &mut DeploymentRecord) -> Result<()> {
        let request = self.request()?;
        let wanted = self.engine.install_defaults(id).await?;
        defaults::check(&wanted, request.admission)?;
        record.signature_policy = wanted.enforce_signature_policy == Some(true);
        for mismatch in defaults::mismatches(&wanted, request.filesystem.as_deref(), &request.stateroot) {
            tracing::warn!("{mismatch}");
        }
        record.machine_args = defaults::machine_args(&request.machine_args, &wanted)?;
        Ok(())
    }

    async fn stage_record(&mut self, hold: bool) -> Result<()> {
        let deployment = self.resolve(&Target::Prepared)?;
        let observed = self.engine.observe().await?;
        if observed.booted.is_some() {
            self.plan_with_room(&observed.order_with(&[&deployment])).await?;
        }
        let boot_id = self.engine.parts.boot_id.clone();
        self.engine.parts.state.set_staged(Some(&StagedRecord { deployment, hold, boot_id }))
    }

    async fn finalize(&mut self, target: &Target) -> Result<()> {
        let id = self.resolve(target)?;
        self.will_change_store()?;
        let parts = &self.engine.parts;
        let report = parts.backend.finalize(&id).await?;
        let mut record = parts.state.record(&id)?;
        record.etc_conflicts = report.conflicts;
        parts.state.set_record(&id, &record)
    }

    /// Too little room for that is no error: what needs the room stays as it is.
    async fn settle(&mut self, keep: &BTreeSet<DeploymentId>) -> Result<()> {
        match self.engine.refresh().await {
            Ok(true) => {
                self.removed.add(self.engine.parts.loader.sweep(keep).await?);
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                tracing::warn!(%error, "boot entries keep their old root arguments, and old deployments their place");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The new one is staged: that the old one cannot be deleted is no reason to go back to it. The next clean-up tries again.
    async fn discard(&mut self, id: &DeploymentId) -> Result<()> {
        if self.prepared.as_ref() == Some(id) {
            return Ok(());
        }
        let keep = self.engine.stored().await?.into_iter().filter(|other| other != id).collect();
        match self.retain(&keep).await {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                tracing::warn!(%error, "what was staged before could not be deleted");
                Ok(())
            }
            result => result,
        }
    }

    /// Deletes trees, unless an entry could still boot by root arguments that would go with them.
    async fn retain(&mut self, keep: &BTreeSet<DeploymentId>) -> Result<()> {
        if self.is_clean(keep).await? || !self.engine.is_settled().await? {
            return Ok(());
        }
        self.will_change_store()?;
        let parts = &self.engine.parts;
        self.removed.add(parts.backend.retain(keep).await?);
        let left = self.engine.stored().await?;
        parts.state.prune_records(|id| left.contains(id))?;
        match self.operation {
            Operation::CleanUp | Operation::Gc => self.engine.remember_clean(&left),
            _ => Ok(()),
        }
    }

    /// Whether the store was cleaned up before, and nothing happened to it since: most boots. A search would read all of it.
    async fn is_clean(&self, keep: &BTreeSet<DeploymentId>) -> Result<bool> {
        if *self.operation != Operation::CleanUp {
            return Ok(false);
        }
        let Some(clean) = self.engine.parts.state.clean()? else { return Ok(false) };
        Ok(clean.is_subset(keep) && clean == self.engine.stored().await?)
    }

    /// The one switch. Everything before `commit` is invisible; everything after it happens again if it is interrupted.
    pub(super) async fn publish(&mut self, order: &[Target]) -> Result<()> {
        let order = order.iter().map(|target| self.resolve(target)).collect::<Result<Vec<_>>>()?;
        let default = order.first().cloned().ok_or_else(|| Error::internal("a plan publishes nothing"))?;
        let (plan, tree) = self.plan_with_room(&order).await?;
        let parts = &self.engine.parts;
        let publication = Publication { generation: plan.generation, default };
        parts.state.set_journal(Some(&self.intent(Some(publication))))?;
        // The backend moves what earlier publications used.
        self.will_change_store()?;
        let parts = &self.engine.parts;
        let staged = parts.loader.stage(&plan, &BackendBlobs(self.engine), tree.as_deref()).await?;
        parts.loader.commit(staged).await?;
        self.effect = Effect::Committed;
        if matches!(self.operation, Operation::Rollback) {
            return Ok(());
        }
        parts.backend.published().await
    }

    /// A plan for which there is room, after giving up old deployments if need be.
    ///
    /// # Errors
    /// `NoSpace` with the numbers; nothing has given way then.
    async fn plan_with_room(&mut self, order: &[DeploymentId]) -> Result<Planned> {
        let boot = self.engine.parts.loader.read().await?;
        let (plan, tree) = self.boot_plan(&boot, order).await?;
        let Err(short) = self.check_room(&plan, None).await else { return Ok((plan, tree)) };
        let observed = self.engine.observe().await?;
        if observed.booted.is_none() {
            return Err(short);
        }
        let Some((keep, (smaller, tree))) = self.smaller_plan(&boot, order, &observed).await? else {
            return Err(short);
        };
        // Nothing that this plan keeps or reads goes.
        self.give_way(&keep).await?;
        self.check_room(&smaller, None).await?;
        Ok((smaller, tree))
    }

    /// A plan for which there is room once the oldest deployments that nothing needs have given way, as few as will do, and what stays then.
    /// `None` if there would be too little even without any of them.
    async fn smaller_plan(
        &self,
        boot: &BootState,
        order: &[DeploymentId],
        observed: &Observed,
    ) -> Result<Option<(BTreeSet<DeploymentId>, Planned)>> {
        let needed: BTreeSet<_> = observed.needed().into_iter().chain(order.first().cloned()).collect();
        let age = |id: &&DeploymentId| observed.records.get(*id).map(|record| record.sequence);
        let mut spare: Vec<_> = order.iter().filter(|id| !needed.contains(*id)).collect();
        spare.sort_by_key(age);
        let mut keep: BTreeSet<_> = needed.iter().chain(order).cloned().collect();
        // At first, only what is left of others goes.
        for oldest in std::iter::once(None).chain(spare.into_iter().map(Some)) {
            oldest.map(|id| keep.remove(id));
            let left: Vec<_> = order.iter().filter(|id| keep.contains(*id)).cloned().collect();
            let planned = self.boot_plan(boot, &left).await?;
            if self.check_room(&planned.0, Some(&keep)).await.is_ok() {
                return Ok(Some((keep, planned)));
            }
        }
        Ok(None)
    }

    /// Deletes what is not to be kept. The committed plan is durable, so this is allowed (I3).
    async fn give_way(&mut self, keep: &BTreeSet<DeploymentId>) -> Result<()> {
        let message =
            "too little room for the new boot files: the oldest unused deployments give way".to_owned();
        self.engine.parts.progress.report(ProgressEvent::Message(message));
        self.removed.add(self.engine.parts.loader.sweep(keep).await?);
        // Else a finalisation before this publication may have moved root arguments that are still published: the trees go later.
        if self.engine.parts.backend.capabilities().predictable_root_args {
            self.retain(keep).await?;
        }
        Ok(())
    }

    /// Whether there is room, now or once everything was swept that is not in `swept`.
    async fn check_room(&self, plan: &BootPlan, swept: Option<&BTreeSet<DeploymentId>>) -> Result<()> {
        let loader = &self.engine.parts.loader;
        let mut needs = loader.space_needed(plan).await?;
        if let Some(keep) = swept {
            let freed = loader.reclaimable(keep, plan).await?;
            for need in &mut needs {
                need.available = need.available.saturating_add(freed.get(&need.place).copied().unwrap_or(0));
            }
        }
        short_of_space(&needs)
    }

    async fn boot_plan(&self, boot: &BootState, order: &[DeploymentId]) -> Result<Planned> {
        let (mut entries, mut tree): Addition = (Vec::new(), None);
        for (place, id) in order.iter().enumerate() {
            let existing = boot.entry_of(id).filter(|entry| entry.problem.is_none());
            // Finalised again although it lost its trial: somebody wants to see it tried again, from the start.
            let existing =
                existing.filter(|entry| !(self.starts_again(place) && entry.tries_left == Some(0)));
            let must_look = self.may_have_changed(place);
            let (entry, its_tree) = match existing {
                Some(entry) if !must_look => (PlannedEntry::Keep(entry.id.clone()), None),
                _ => self.add_or_keep(id, existing, self.will_move(place)).await?,
            };
            entries.push(entry);
            tree = tree.or(its_tree);
        }
        Ok((BootPlan { generation: boot.generation + 1, entries, one_shot: None }, tree))
    }

    fn starts_again(&self, place: usize) -> bool {
        matches!(self.operation, Operation::Finalize) && place == 0
    }

    /// While an upgrade is staged, its plan only tells how much room the shutdown will take. By then, the root arguments of the others have moved, if
    /// they do, and their entries are written anew.
    fn will_move(&self, place: usize) -> bool {
        let moving = !self.engine.parts.backend.capabilities().predictable_root_args;
        matches!(self.operation, Operation::Update { .. }) && moving && place > 0
    }

    /// A rollback only reorders: it must not depend on the backend. Other plans look whether the arguments of the new default changed;
    /// of every entry, where making one deployment moves the root arguments of the others.
    fn may_have_changed(&self, place: usize) -> bool {
        let moving = !self.engine.parts.backend.capabilities().predictable_root_args;
        !matches!(self.operation, Operation::Rollback) && (place == 0 || moving)
    }

    async fn add_or_keep(
        &self,
        id: &DeploymentId,
        existing: Option<&PublishedEntry>,
        will_move: bool,
    ) -> Result<(PlannedEntry, Option<Box<dyn TreeReader>>)> {
        let (mut spec, tree) = self.engine.entry_spec(id).await?;
        if let Some(entry) = existing.filter(|entry| !will_move && still_describes(entry, &spec)) {
            return Ok((PlannedEntry::Keep(entry.id.clone()), None));
        }
        spec.tries = self.tries(existing);
        Ok((PlannedEntry::Add(Box::new(spec)), Some(tree)))
    }
}

impl Run<'_> {
    /// How often a new entry may be tried. One that replaces another is as good, or as new, as that. The first deployment on a disk has
    /// nothing to fall back to.
    fn tries(&self, replaced: Option<&PublishedEntry>) -> Option<u32> {
        let counted = self.engine.parts.loader.capabilities().boot_counting;
        let fresh = (counted && !matches!(self.operation, Operation::Install)).then_some(TRIES);
        replaced.map_or(fresh, |entry| entry.tries_left)
    }
}

/// Whether a published entry boots what `spec` would.
fn still_describes(entry: &PublishedEntry, spec: &EntrySpec) -> bool {
    match &spec.artifacts.kernel {
        KernelArtifacts::Split { .. } => entry.cmdline.as_ref() == Some(&spec.full_cmdline()),
        // The id of a unified deployment covers its kernel, and most of the command line is inside it.
        KernelArtifacts::Unified { embedded, .. } => {
            let wanted = embedded.merged_with(&spec.extra_args);
            entry.cmdline.as_ref().is_some_and(|line| line.contains_all(&wanted) && wanted.contains_all(line))
        }
    }
}

/// The engine's backend, as a source of blobs only.
#[derive(Debug)]
struct BackendBlobs<'a>(&'a Engine);

#[async_trait::async_trait]
impl crate::tree::BlobSource for BackendBlobs<'_> {
    async fn open_blob(&self, blob: &crate::model::Blob) -> Result<crate::tree::Reader> {
        self.0.parts.backend.open_blob(blob).await
    }
}

impl Engine {
    /// Observes, plans and executes one operation, recovery first. The caller holds the lock.
    pub(super) async fn perform(
        &self,
        operation: &Operation,
        image: Option<&ImageRequest>,
    ) -> Result<Performed> {
        let state = &self.parts.state;
        if operation.uses_reserve() {
            // Before the recovery: that writes, too.
            state.use_reserve_if_full()?;
        }
        let performed = self.perform_in_room(operation, image).await;
        let performed = performed.map_err(|error| state.explained(error))?;
        if operation.uses_reserve() || *operation == Operation::Install {
            state.set_reserve_aside();
        }
        Ok(performed)
    }

    async fn perform_in_room(
        &self,
        operation: &Operation,
        image: Option<&ImageRequest>,
    ) -> Result<Performed> {
        self.recover().await?;
        let observed = self.observe().await?;
        self.record_lost_trials(&observed)?;
        let steps = super::plan(operation, &observed)?;
        let mut run = Run::new(self, operation, image);
        let result = run.all(&steps).await;
        let (prepared, removed) = (run.prepared.take(), std::mem::take(&mut run.removed));
        if let Err(error) = result {
            return Err(self.undo(error, &observed, run.was_clean).await);
        }
        Ok(Performed { observed, steps, prepared, removed })
    }

    /// The deployments in the store.
    async fn stored(&self) -> Result<BTreeSet<DeploymentId>> {
        let all = self.parts.backend.deployments().await?;
        Ok(all.into_iter().map(|deployment| deployment.id).collect())
    }

    /// That there is no room for the record is no reason to fail: a full disk can be cleaned up, and the next clean-up searches again.
    fn remember_clean(&self, left: &BTreeSet<DeploymentId>) -> Result<()> {
        match self.parts.state.set_clean(left) {
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                tracing::debug!(%error, "it is not recorded that nothing is left to be cleaned up");
                Ok(())
            }
            result => result,
        }
    }

    /// After an error before the commit: removes what was half-done, as recovery would, and keeps the first error.
    async fn undo(&self, error: Error, before: &Observed, was_clean: bool) -> Error {
        if error.effect() == Effect::Committed || error.kind() == ErrorKind::Interrupted {
            // Recovery carries it on, from the journal; a download that stopped is resumed by the next try.
            return error;
        }
        let keep = before.keep();
        let cleaned = async {
            // First: it must not name what is about to be deleted.
            if self.parts.state.staged()? != before.staged {
                self.parts.state.set_staged(before.staged.as_ref())?;
            }
            self.refresh().await?;
            let mut searched = false;
            if !keep.is_empty() {
                self.parts.loader.sweep(&keep).await?;
                if self.is_settled().await? {
                    self.parts.backend.retain(&keep).await?;
                    searched = true;
                }
            }
            let left = self.stored().await?;
            self.parts.state.prune_records(|id| left.contains(id))?;
            if searched && was_clean {
                self.remember_clean(&left)?;
            }
            self.parts.state.set_journal(None)
        };
        match cleaned.await {
            Ok(()) => error,
            Err(second) => {
                tracing::warn!(%second, "cleaning up after the error was not possible either");
                error.with_effect(Effect::Partial)
            }
        }
    }
}

/// What an operation did.
#[derive(Debug)]
pub(super) struct Performed {
    pub observed: Observed,
    pub steps: Vec<Step>,
    pub prepared: Option<DeploymentId>,
    pub removed: Removed,
}

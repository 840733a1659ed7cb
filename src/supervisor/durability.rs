//! Commits behind what the row store has made durable, and the way back when it has lost something.
//!
//! Keeps O1 (commits come from the board of contiguous positions), W2 (never beyond the durable-through mark: rows are made
//! durable between looking at the board and committing), W3 (after a loss nothing that was settled counts: entities forget,
//! every partition reads again from what it committed). Knows nothing of how a store loses anything.

use super::Supervisor;
use super::shared::Board;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Millis, NextOffset, Partition};
use crate::domain::mark::Positions;
use crate::domain::steps::{Step, reached};
use crate::messages::control::ActorId;
use crate::ports::rows::RowStore;
use crate::ports::source::SourceControl;
use crate::telemetry::WaitingFor;
use actix::prelude::*;
use std::sync::Arc;

/// Positions to commit with the source that keeps them.
pub(super) type Owed = (Arc<dyn SourceControl>, Vec<(Partition, NextOffset)>);

impl Supervisor {
    /// O1 behind W2: what is settled is made durable, then committed. One commit is under way at a time.
    pub(super) fn commit(&mut self, ctx: &mut Context<Self>) {
        if self.committing || self.hall.now() < self.commit_after {
            return;
        }
        let owed = self.owed(Some(self.hall.now()));
        if owed.is_empty() {
            return;
        }
        self.committing = true;
        ctx.spawn(self.committing(owed).into_actor(self).map(|done, act, _| {
            act.committing = false;
            match done.cause {
                None => {
                    act.uncommitted = 0;
                    let pause = act.stores.rows.commit_pause();
                    act.commit_after = Millis(act.hall.now().0 + pause.as_millis() as i64);
                }
                Some(fault) => {
                    act.uncommitted = act.uncommitted.saturating_add(1);
                    WaitingFor { fault: &fault, attempts: act.uncommitted, after: super::TICK }.emit();
                }
            }
        }));
    }

    /// Commits these positions unless the store loses something first. What the queue's life asks to be noted is noted
    /// before (J11).
    pub(super) fn committing(&self, owed: Vec<Owed>) -> impl Future<Output = Done> + use<> {
        let notes = self.life_notes(&owed);
        let (ledger, rows, board) = (Arc::clone(&self.ledger), Arc::clone(&self.stores.rows), Arc::clone(&self.hall.board));
        let losses = self.losses;
        async move {
            let left = owed.iter().map(|(_, positions)| positions.len()).sum();
            if !notes.is_empty()
                && let Err(fault) = ledger.set_notes(notes).await
            {
                return Done { left, cause: Some(fault) };
            }
            commit(owed, rows, board, losses).await
        }
    }

    /// Positions to commit, by the source that keeps them; with a time, only of sources whose turn it is.
    pub(super) fn owed(&mut self, now: Option<Millis>) -> Vec<Owed> {
        let mut by_source: Vec<Vec<(Partition, NextOffset)>> = vec![Vec::new(); self.sources.len()];
        for (partition, next) in self.hall.board.owed() {
            if let Some(slot) = self.partitions.get(&partition) {
                by_source[slot.source].push((partition, next));
            }
        }
        let mut owed = Vec::new();
        for (source, positions) in self.sources.iter_mut().zip(by_source).filter(|(_, positions)| !positions.is_empty()) {
            let due = |now: Millis| now.since(source.committed) >= source.pace.commit_every.as_millis() as i64;
            if now.is_some_and(|now| !due(now)) {
                continue;
            }
            source.committed = now.unwrap_or(source.committed);
            owed.extend(source.control.as_ref().map(|control| (Arc::clone(control), positions)));
        }
        owed
    }

    /// W3: a loss since the last look drops what entities remember and sends every partition back to what it committed.
    pub(super) fn hear_losses(&mut self) {
        let losses = self.stores.rows.losses();
        if losses == self.losses {
            return;
        }
        self.losses = losses;
        self.directory.forget_all();
        let committed = self.hall.board.all_committed();
        self.read_again(&committed, "the row store lost writes");
    }

    /// Every partition reads again from these positions, under a new generation; what the old one still settles counts for
    /// nothing, as the board is nobody's until the new one begins.
    pub(super) fn read_again(&mut self, from: &Positions, why: &'static str) {
        let settled = self.hall.board.all_settled();
        for (partition, stood) in settled {
            let Some(slot) = self.partitions.get_mut(&partition) else { continue };
            let to = from.get(&partition).copied().unwrap_or(NextOffset(0)).min(stood);
            tracing::error!(%partition, from = to.0, to = stood.0, why, "partition goes back");
            self.hall.board.begin(partition, to);
            slot.care.restart_asked = true;
            self.stop_actor(&ActorId::Partition(partition));
        }
    }
}

/// What a commit came to.
pub(super) struct Done {
    /// Partitions whose position is not committed.
    pub left: usize,
    pub cause: Option<Fault>,
}

/// Commits by source. `losses` are those known when these positions were owed.
async fn commit(owed: Vec<Owed>, rows: Arc<dyn RowStore>, board: Arc<Board>, losses: u64) -> Done {
    let all = owed.iter().map(|(_, positions)| positions.len()).sum();
    if let Err(fault) = rows.make_durable().await {
        return Done { left: all, cause: Some(fault) };
    }
    if rows.losses() != losses {
        let fault = Fault::new(FaultKind::Unreachable, "row store", "it lost writes, positions are not committed");
        return Done { left: all, cause: Some(fault) };
    }
    let mut done = Done { left: 0, cause: None };
    for (control, mut positions) in owed {
        // A partition may have left while the rows were made durable; the source hears of it before anything else happens.
        positions.retain(|(partition, next)| board.owes(*partition, *next));
        match control.commit(positions.clone()).await {
            Ok(()) => {
                board.mark_committed(&positions);
                reached(Step::PositionCommitted);
            }
            Err(fault) => {
                done.left += positions.len();
                done.cause = Some(fault);
            }
        }
    }
    done
}

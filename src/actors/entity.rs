//! One entity: a thin shell around `domain/entity.rs`, one actor per row key.
//!
//! Keeps N1 to N3 by that room, J3 (offers follow the acknowledgement), C5's careful half by reading, judging and trying
//! again for up to a minute. Spawned on the first change, let go by the directory when idle. Knows nothing of partitions
//! or of the store behind the writer.

use crate::domain::entity::{Acknowledged, Batch, EntityState, MoveVerdict, judge_move};
use crate::domain::ids::{Millis, RowId};
use crate::domain::line::Line;
use crate::domain::route::RowChange;
use crate::domain::schema::RowKind;
use crate::domain::steps::{self, Step};
use crate::messages::belt::Belt;
use crate::messages::entity::{ApplyChanges, EntityKeeper, EntityPulse, Forget};
use crate::messages::offer::OfferJobs;
use crate::messages::ticket::Ticket;
use crate::messages::write::{Asker, RowWritten, WriteReply, WriteRow};
use crate::ports::rows::{Checked, RowStore};
use crate::telemetry::{self, OwedFor, StoreMeters};
use actix::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// C5: how long the old half of a key change waits for the old row's changes to arrive, and how often it looks.
const MOVE_PATIENCE: Duration = Duration::from_secs(60);
const MOVE_PAUSE: Duration = Duration::from_millis(250);
/// A write whose outcome is unknown goes again after this pause.
const AGAIN_PAUSE: Duration = Duration::from_millis(50);

/// What all entities of one row kind on one thread share.
pub struct EntitySetup {
    pub kind: RowKind,
    /// The lines of this row kind.
    pub lines: Vec<Line>,
    pub writer: Belt<WriteRow>,
    pub offerer: Belt<OfferJobs>,
    pub rows: Arc<dyn RowStore>,
    pub keeper: Arc<dyn EntityKeeper>,
    pub meters: StoreMeters,
    pub clock: fn() -> Millis,
    /// How long a move may wait; shorter where a finite run must end.
    pub move_patience: Duration,
}

impl EntitySetup {
    pub const MOVE_PATIENCE: Duration = MOVE_PATIENCE;
}

pub struct EntityActor {
    setup: Arc<EntitySetup>,
    state: EntityState<Ticket>,
    /// Names this actor among those that had the row before it.
    life: u64,
    pulse: Arc<EntityPulse>,
    /// In a handler; still so when dropped means that it panicked.
    working: bool,
}

impl EntityActor {
    pub fn new(setup: Arc<EntitySetup>, row: RowId, life: u64, pulse: Arc<EntityPulse>) -> Self {
        let state = EntityState::new(row, &setup.kind);
        Self { setup, state, life, pulse, working: false }
    }

    fn go_on(&mut self, ctx: &mut Context<Self>) {
        if let Some(write) = self.state.next_write() {
            let home = self.pulse.home().unwrap_or_else(|| Arc::new(ctx.address()));
            self.setup.writer.put(WriteRow { write, reply: WriteReply::to(home) });
        }
        if let Some((change, ticket)) = self.state.next_move() {
            self.judge(change, ticket, (self.setup.clock)(), ctx);
        }
    }

    fn show(&self, now: Millis) {
        self.pulse.show(now, self.state.is_idle(), self.state.bytes());
    }

    fn offer(&self, batch: Batch<Ticket>, written: Millis) {
        if !batch.is_empty() {
            self.setup.offerer.put(OfferJobs { offers: batch.offers, written, tickets: batch.tickets });
        }
    }

    /// C5: reads the old row, and writes the tombstone once the row is as the move left it.
    fn judge(&mut self, change: RowChange, ticket: Ticket, begun: Millis, ctx: &mut Context<Self>) {
        let (rows, row) = (Arc::clone(&self.setup.rows), change.row.clone());
        let (version, now) = (self.setup.kind.version, (self.setup.clock)());
        let last = now.since(begun) >= self.setup.move_patience.as_millis() as i64;
        let judging = async move {
            let read = rows.read(vec![row]).await.map(|mut found| found.pop().flatten());
            let done = match read {
                Err(_) => false,
                Ok(found) => match judge_move(found.as_ref(), &change, version, now, last) {
                    MoveVerdict::AlreadyDone => true,
                    MoveVerdict::NotYet => false,
                    MoveVerdict::Write(write) => matches!(rows.write_checked(write).await, Ok(Checked::Applied)),
                },
            };
            (change, ticket, done)
        };
        let judged = judging.into_actor(self).map(move |(change, ticket, done), act, ctx| {
            if !done && !last {
                ctx.run_later(MOVE_PAUSE, move |act, ctx| act.judge(change, ticket, begun, ctx));
                return;
            }
            if !done {
                act.setup.meters.move_unseen();
            }
            telemetry::owe_check(OwedFor::Move);
            let batch = act.state.moved(&change, ticket, &act.setup.lines);
            let now = (act.setup.clock)();
            act.offer(batch, now);
            act.go_on(ctx);
            act.show(now);
        });
        ctx.spawn(judged);
    }
}

impl Actor for EntityActor {
    type Context = Context<Self>;
}

impl Asker for Addr<EntityActor> {
    fn hear(&self, answer: RowWritten) {
        self.do_send(answer);
    }
}

impl Drop for EntityActor {
    fn drop(&mut self) {
        self.setup.keeper.left(self.state.row(), self.life, self.working);
    }
}

impl Handler<ApplyChanges> for EntityActor {
    type Result = ();
    fn handle(&mut self, message: ApplyChanges, ctx: &mut Self::Context) {
        self.working = true;
        steps::reached(Step::EntityApplied);
        let now = message.now;
        let applied = self.state.apply(message.changes, &self.setup.lines, now);
        if applied.stale > 0 {
            self.setup.meters.stale(u64::from(applied.stale));
        }
        self.offer(applied.at_once, now);
        self.go_on(ctx);
        self.pulse.beat(now, self.state.is_idle(), self.state.bytes());
        self.working = false;
    }
}

impl Handler<Forget> for EntityActor {
    type Result = ();
    fn handle(&mut self, _: Forget, _: &mut Self::Context) {
        self.state.forget();
        self.pulse.beat((self.setup.clock)(), self.state.is_idle(), self.state.bytes());
    }
}

impl Handler<RowWritten> for EntityActor {
    type Result = ();
    fn handle(&mut self, message: RowWritten, ctx: &mut Self::Context) {
        self.working = true;
        let now = message.at.unwrap_or_else(self.setup.clock);
        match self.state.written(message.outcome) {
            Acknowledged::Written(batch) => {
                self.offer(batch, now);
                self.go_on(ctx);
            }
            Acknowledged::Again(_) => {
                ctx.run_later(AGAIN_PAUSE, |act, ctx| act.go_on(ctx));
            }
            Acknowledged::Failed { fault, tickets } => {
                Ticket::fail(tickets, &fault.to_string());
                self.go_on(ctx);
            }
        }
        self.show(now);
        self.working = false;
    }
}

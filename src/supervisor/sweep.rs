//! A job for every row, where the log no longer reaches back to what a lost queue held (J11, R5).
//!
//! What left the log was accepted once, so its rows stand in the row store; only their jobs are gone, and nobody knows which.
//! The sweep offers them all on the least urgent lane. How far it is, is noted under the queue's life: another process goes
//! on from there. Knows nothing of partitions; `marks.rs` says when one is owed.

use super::assignment::PartitionCut;
use super::{BEGIN_AGAIN, Supervisor};
use crate::domain::fault::{Fault, FaultKind, panic_text};
use crate::domain::ids::{Name, RowKey};
use crate::messages::intake::SkipTo;
use crate::ports::ledger::Ledger;
use crate::ports::queue::JobQueue;
use crate::ports::refill::{PAGE_ROWS, Refill};
use crate::ports::rows::RowStore;
use crate::ports::source::Cut;
use crate::telemetry::{GapFound, WaitingFor};
use actix::prelude::*;
use futures_util::FutureExt;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// How far a line's sweep is: the queue's life alone when it is done, else with the next row key behind [`APART`].
const SWEEP: &str = "queue/sweep/";
const APART: char = '\t';

impl Handler<PartitionCut> for Supervisor {
    type Result = ();
    fn handle(&mut self, message: PartitionCut, _: &mut Self::Context) {
        let PartitionCut { partition, reading, cut: Cut { from, to } } = message;
        let Some(slot) = self.partitions.get(&partition) else { return };
        if let Some(address) = &slot.address {
            address.do_send(SkipTo { reading, to });
        }
        let stood = self.marks.lives.cut(partition);
        if stood.is_some() {
            let (from, to) = (from.0, to.0);
            tracing::error!(%partition, from, to, "log no longer reaches back to the jobs the queue lost, every row gets one");
        }
        // What lay before the loss was accepted once.
        let from = stood.map_or(from, |stood| stood.max(from));
        if from < to {
            GapFound { partition, from, to }.emit();
        }
    }
}

impl Supervisor {
    pub(super) fn sweep_if_owed(&mut self, ctx: &mut Context<Self>) {
        let Some(life) = self.marks.lives.owes_sweep().filter(|_| !self.sweeping) else { return };
        self.sweeping = true;
        let queue = &self.settings.queue;
        let jobs = |line, kind| (Refill::new(line, queue.lanes.len(), queue.max_pending), kind);
        let sweep = Sweep {
            life: life.to_owned(),
            lines: self.settings.lines.iter().map(|l| jobs(l.line.name, l.line.kind)).collect(),
            rows: Arc::clone(&self.stores.rows),
            queue: Arc::clone(&self.stores.queue),
            ledger: Arc::clone(&self.ledger),
        };
        let sweeping = async move {
            // It takes the ways that the workers take, and what fails there must not end who watches over them.
            let swept = AssertUnwindSafe(sweep.run()).catch_unwind().await;
            let panicked = |panic: Box<dyn Any + Send>| Err(Fault::new(FaultKind::Panicked, "sweep", panic_text(&*panic)));
            (swept.unwrap_or_else(panicked), sweep.life)
        };
        ctx.spawn(sweeping.into_actor(self).map(|(swept, life), act, _| {
            act.sweeping = false;
            match swept {
                Ok(rows) => {
                    act.marks.lives.swept(&life);
                    tracing::info!(rows, "every row has a job again");
                }
                Err(fault) => WaitingFor { fault: &fault, attempts: 1, after: BEGIN_AGAIN }.emit(),
            }
        }));
    }
}

/// One sweep over all lines in one life of the queue.
struct Sweep {
    life: String,
    /// With the row kind of each.
    lines: Vec<(Refill, Name)>,
    rows: Arc<dyn RowStore>,
    queue: Arc<dyn JobQueue>,
    ledger: Arc<dyn Ledger>,
}

impl Sweep {
    /// Rows offered by this process.
    async fn run(&self) -> Result<u64, Fault> {
        let mut rows = 0;
        for (jobs, kind) in &self.lines {
            rows += self.line(jobs, *kind).await?;
        }
        Ok(rows)
    }

    async fn line(&self, jobs: &Refill, kind: Name) -> Result<u64, Fault> {
        let name = format!("{SWEEP}{}", jobs.line);
        let mut next = match self.ledger.note(&name).await?.as_deref().and_then(|note| note.strip_prefix(self.life.as_str())) {
            Some("") => return Ok(0),
            Some(at) => at.strip_prefix(APART).map(RowKey::new),
            None => None,
        };
        let mut rows = 0;
        loop {
            let page = self.rows.scan(kind, next, None, PAGE_ROWS).await?;
            rows += page.rows.len() as u64;
            jobs.offer(page.rows.into_iter().map(|row| row.row.key).collect(), &*self.queue, || false).await?;
            next = page.next;
            let at = next.as_ref().map_or(self.life.clone(), |key| format!("{}{APART}{}", self.life, key.as_str()));
            self.ledger.set_notes(vec![(name.clone(), Some(at))]).await?;
            if next.is_none() {
                return Ok(rows);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fault::FaultKind;
    use crate::domain::ids::{Millis, RowId};
    use crate::domain::row::WideRow;
    use crate::io::memory::{Call, MemoryLedger, MemoryQueue, MemoryRowStore};
    use crate::ports::rows::RowWrite;
    use crate::settings::{Settings, load_text};

    const SHOP: &str = r#"
version: 1
sources: { shop: { jsonl: { path: records.jsonl } } }
rows:
  order: { key: "{id}", tables: { trade.orders: { id: [id] } } }
lines:
  orders:
    row: order
    document: { id: "{id}", fields: { id: trade.orders.id } }
    sink: { jsonl: { path: orders.jsonl } }
"#;
    const ROWS: u64 = 1_200;

    fn settings() -> Settings {
        load_text("test.yaml", SHOP, &|_| None).unwrap_or_else(|found| panic!("{found:#?}")).settings
    }

    async fn sweep(life: &str, ledger: &Arc<MemoryLedger>) -> (Sweep, Arc<MemoryRowStore>, Arc<MemoryQueue>) {
        let settings = settings();
        let rows = Arc::new(MemoryRowStore::new(Arc::clone(&settings.schema)));
        let queue = Arc::new(MemoryQueue::new(&settings.queue, Arc::new(|| Millis(0))));
        let row = |n| RowId { kind: Name::of("order"), key: RowKey::new(&format!("{n:04}")) };
        rows.write((0..ROWS).map(|n| RowWrite { row: row(n), change: WideRow::default().into() }).collect()).await;
        let sweep = Sweep {
            life: life.to_owned(),
            lines: vec![(Refill::new(Name::of("orders"), 1, 10_000), Name::of("order"))],
            rows: Arc::clone(&rows) as Arc<dyn RowStore>,
            queue: Arc::clone(&queue) as Arc<dyn JobQueue>,
            ledger: Arc::clone(ledger) as Arc<dyn Ledger>,
        };
        (sweep, rows, queue)
    }

    async fn waiting(queue: &MemoryQueue) -> u64 {
        queue.counts(Name::of("orders")).await.unwrap().iter().map(|lane| lane.waiting).sum()
    }

    /// Goal: J11, every row gets a job in every life of the queue, and a sweep that was broken off goes on where it was.
    /// Method: what a process noted after its first page; the next one, one more in the same life, one in a new life.
    #[tokio::test]
    async fn a_sweep_goes_on_where_it_was_left() {
        let ledger = Arc::new(MemoryLedger::new());
        let (first, _, queue) = sweep("a", &ledger).await;
        let away = Fault::new(FaultKind::Unreachable, "scripted", "away");
        let page = first.rows.scan(Name::of("order"), None, None, PAGE_ROWS).await.unwrap();
        let at = format!("a{APART}{}", page.next.unwrap().as_str());
        ledger.set_notes(vec![(format!("{SWEEP}orders"), Some(at))]).await.unwrap();
        assert_eq!(first.run().await, Ok(ROWS - PAGE_ROWS as u64), "the first page was offered before");
        assert_eq!(waiting(&queue).await, ROWS - PAGE_ROWS as u64);

        let (again, _, queue) = sweep("a", &ledger).await;
        assert_eq!((again.run().await, waiting(&queue).await), (Ok(0), 0), "this life is swept");

        let (anew, rows, queue) = sweep("ab", &ledger).await;
        rows.script.fail_next(Call::Read, 1, &away);
        assert_eq!(anew.run().await, Err(away));
        assert_eq!((anew.run().await, waiting(&queue).await), (Ok(ROWS), ROWS), "a life whose name begins like another's");
    }
}

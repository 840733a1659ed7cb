//! What the queue does by itself: expired leases, due retries, what comes back from the overflow, server entries.

use super::diversion::{Standing, Turn};
use super::keys;
use super::message::TaskMessage;
use super::offers::OfferItem;
use super::overflow::Row;
use super::queue::{AsynqQueue, LineState, arg};
use super::scripts::Scope;
use super::takes::row_of;
use crate::domain::fault::Fault;
use crate::domain::ids::{Millis, Name};
use crate::domain::job::{JobKey, Lane};
use crate::io::jobbook::Outlook;
use prost::Message;

/// Leases, retries and tasks of one kind moved per call.
const PER_CALL: usize = 200;
/// A foreign worker's lease may be over this long: its clock may differ from the server's.
const FOREIGN_LEASE_MS: i64 = 30_000;
/// Records of the book one tending looks at; more, and again, where many of them are stale.
const SWEPT: usize = 20;
const SWEPT_MUCH: usize = 500;
const SWEEPS_MAX: usize = 40;
/// Rows that come back from the overflow at once.
const BACK_PER_CALL: usize = 200;

/// What one lane holds, and how long until a retry is due anywhere in the scope (-1: never).
pub(super) type CountRow = (u64, u64, u64, u64, String, String);

impl AsynqQueue {
    pub(super) fn known_lines(&self) -> Vec<Name> {
        let mut lines: Vec<Name> = self.inner.lines.lock().unwrap_or_else(|e| e.into_inner()).keys().copied().collect();
        lines.sort_by_key(|line| line.as_str());
        lines
    }

    pub(super) fn with_line<R>(&self, line: Name, change: impl FnOnce(&mut LineState) -> R) -> R {
        change(self.inner.lines.lock().unwrap_or_else(|e| e.into_inner()).entry(line).or_default())
    }

    pub(super) async fn tend_all(&self) -> Result<u64, Fault> {
        let mut moved = 0;
        for line in self.known_lines() {
            self.ready(line).await?;
            for (number, scope) in self.scopes(line).iter().enumerate() {
                moved += self.tend_scope(scope, number).await?;
            }
            if self.any_aside() {
                moved += self.refill(line).await?;
                moved += self.unpark_calm(line).await?;
            }
            self.guard(line).await?;
            if moved > 0 {
                self.inner.bells.of(line).notify_waiters();
            }
        }
        self.inner.server.beat(&self.inner.redis).await?;
        Ok(moved)
    }

    /// J9: a line that stays too long is worked from its lowest lane until it is calm; each decision is told.
    async fn guard(&self, line: Name) -> Result<(), Fault> {
        let (rows, _) = self.lane_counts(line).await?;
        let spilled = if self.any_aside() {
            self.aside(move |overflow| overflow.counts(line)).await?.iter().map(|aside| aside.spilled).sum()
        } else {
            0
        };
        let longest = rows.iter().map(|row| row.0 + row.1).max().unwrap_or(0);
        let standing = match longest {
            longest if spilled > 0 || longest >= self.inner.rules.max_pending as u64 => Standing::Long,
            longest if self.inner.rules.is_low(longest) => Standing::Calm,
            _ => Standing::Between,
        };
        let now = self.now();
        match self.with_line(line, |state| state.diversion.look(standing, now)) {
            Some(Turn::Begins) => {
                tracing::warn!(%line, longest, spilled, "line stays too long, its new jobs go to its lowest lane, urgent ones apart");
            }
            Some(Turn::Ends) => tracing::info!(%line, "line is calm, its jobs go to their own lanes again"),
            None => {}
        }
        Ok(())
    }

    async fn tend_scope(&self, scope: &Scope, number: usize) -> Result<u64, Fault> {
        let (line, scripts) = (scope.line, &self.inner.scripts);
        let mut total = 0;
        let mut page = SWEPT;
        for _ in 0..SWEEPS_MAX {
            let sweep = self.with_line(line, |state| state.sweep.get(&number).cloned().unwrap_or_else(|| "0".into()));
            // Once a round of the book: a look at what runs without a lease.
            let round = u8::from(sweep == "0");
            let args = vec![arg(PER_CALL), arg(FOREIGN_LEASE_MS), arg(round), arg(sweep), arg(page)];
            let (moved, next, ended, stale): (u64, String, Vec<(String, String)>, usize) =
                self.run(scope, &scripts.tend, args).await?;
            self.with_line(line, |state| state.sweep.insert(number, next));
            let rows: Vec<(JobKey, u64)> =
                ended.into_iter().filter_map(|(base, text)| self.row_ended(line, &base, &text)).collect();
            if !rows.is_empty() {
                self.rows_ended(rows).await?;
            }
            total += moved;
            // Where foreign workers do the work, they leave more behind than a glance would find.
            if stale * 4 < page {
                break;
            }
            page = SWEPT_MUCH;
        }
        Ok(total)
    }

    /// A job from our overflow that a foreign worker ended.
    fn row_ended(&self, line: Name, base: &str, gen_text: &str) -> Option<(JobKey, u64)> {
        let seq = gen_text.strip_prefix(&self.inner.token)?.strip_prefix('-')?.parse().ok()?;
        Some((JobKey { line, row: keys::row_of(base)? }, seq))
    }

    pub(super) async fn lane_counts(&self, line: Name) -> Result<(Vec<CountRow>, i64), Fault> {
        let (mut rows, mut due) = (Vec::new(), -1);
        for scope in self.scopes(line) {
            let (counted, next): (Vec<CountRow>, i64) = self.run(&scope, &self.inner.scripts.counts, vec![]).await?;
            rows.extend(counted);
            due = match (due, next) {
                (-1, next) => next,
                (due, -1) => due,
                (due, next) => due.min(next),
            };
        }
        Ok((rows, due))
    }

    /// J9: lanes below half take back from the overflow, in order. The rows stay there until their runs end.
    pub(super) async fn refill(&self, line: Name) -> Result<u64, Fault> {
        let _gate = self.inner.gate.lock().await;
        let spilling = self.aside(move |overflow| overflow.spilling(line)).await?;
        if !spilling.contains(&true) {
            return Ok(0);
        }
        let (rows, _) = self.lane_counts(line).await?;
        let mut moved = 0;
        for (at, row) in rows.iter().enumerate().filter(|(at, _)| spilling[*at]) {
            let pending = row.0 + row.1;
            if self.inner.rules.is_low(pending) {
                let room = self.inner.rules.max_pending.saturating_sub(pending as usize).min(BACK_PER_CALL);
                moved += self.refill_lane(line, Lane(at as u8), room).await?;
            }
        }
        if moved > 0 {
            self.inner.bells.of(line).notify_waiters();
        }
        Ok(moved)
    }

    async fn refill_lane(&self, line: Name, lane: Lane, room: usize) -> Result<u64, Fault> {
        let page = self.aside(move |overflow| overflow.page(line, lane, room)).await?;
        let Some(scope) = self.scopes(line).into_iter().find(|scope| scope.number(lane).is_some()) else { return Ok(0) };
        let item = |row: &Row| OfferItem {
            lane,
            gen_text: format!("{}-{}", self.inner.token, row.seq),
            ..OfferItem::new(&row.key, row.waiting.attempts, &row.waiting.load)
        };
        let items: Vec<OfferItem> = page.iter().map(item).collect();
        if items.is_empty() {
            return Ok(0);
        }
        // Without an answer the rows stay where they are, and come once more: a double run at most.
        self.offer_items(&scope, "s", &items, &[]).await?;
        let moved = page.len() as u64;
        self.aside(move |overflow| page.iter().try_for_each(|row| overflow.pass(line, lane, row.seq))).await?;
        Ok(moved)
    }

    /// J8: parked jobs of a calm lane come back; they run whatever their age.
    async fn unpark_calm(&self, line: Name) -> Result<u64, Fault> {
        let asides = self.aside(move |overflow| overflow.counts(line)).await?;
        if asides.iter().all(|aside| aside.parked == 0) {
            return Ok(0);
        }
        let (rows, _) = self.lane_counts(line).await?;
        let room = self.inner.rules.max_pending.min(BACK_PER_CALL);
        let mut moved = 0;
        for (at, (aside, row)) in asides.iter().zip(&rows).enumerate() {
            if aside.parked > 0 && aside.spilled == 0 && row.0 + row.1 == 0 {
                moved += self.gated(move |overflow| overflow.unpark(line, Lane(at as u8), room)).await?;
            }
        }
        if moved > 0 {
            self.refill(line).await?;
        }
        Ok(moved)
    }

    /// A step on what lies aside that no refill may overlap.
    pub(super) async fn gated<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut super::overflow::Overflow) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let _gate = self.inner.gate.lock().await;
        self.aside(step).await
    }

    pub(super) async fn outlook(&self, line: Name) -> Result<Outlook, Fault> {
        let (rows, due) = self.lane_counts(line).await?;
        if self.any_aside() {
            let spilling = self.aside(move |overflow| overflow.spilling(line)).await?;
            let low = |(spills, row): (&bool, &CountRow)| *spills && self.inner.rules.is_low(row.0 + row.1);
            if spilling.iter().zip(&rows).any(low) {
                return Ok(Outlook::Ready);
            }
        }
        Ok(match due {
            0 => Outlook::Ready,
            due if due > 0 => Outlook::Due(Millis(self.now().0.saturating_add(due))),
            _ => Outlook::Idle,
        })
    }

    /// Row and last error of a message; the row where its base tells it.
    pub(super) fn told(base: &str, msg: &[u8], line: Name) -> Option<(crate::domain::ids::RowKey, String)> {
        let row = row_of(base, msg, line)?;
        let error = TaskMessage::decode(msg).map(|task| task.error_msg).unwrap_or_default();
        Some((row, error))
    }
}

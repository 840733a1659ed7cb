//! Takings: jobs for workers (J6), late ones aside (J8), tasks of others adopted.

use super::offers::OfferItem;
use super::overflow::Overflow;
use super::queue::{AsynqQueue, Inner, arg};
use super::scripts::Scope;
use super::verdicts::DOCUMENT_MS;
use super::{keys, message, record};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Name, RowKey};
use crate::domain::job::{Hold, JobKey, Lease, Load};
use crate::ports::queue::{Batch, Taken};
use crate::settings::OnLate;
use std::collections::HashMap;
use std::sync::atomic::Ordering;

/// Jobs of one taking at most.
const TAKEN_PER_CALL: usize = 500;
/// Late jobs one taking puts aside at most, so that it ends soon.
const LATE_PER_TAKE: usize = 1_000;

/// What `take.lua` answers: credits, late ones dropped, jobs in lots (bases, and what waited), numbers of those to be parked,
/// messages and document hashes behind the numbers of their jobs, foreign tasks.
type TakeAnswer = (String, u64, Vec<(Vec<String>, Vec<String>)>, Vec<usize>, Vec<Vec<u8>>, Vec<String>, Vec<ForeignRow>);
/// A foreign task: lane, id, message.
type ForeignRow = (usize, String, Vec<u8>);

impl AsynqQueue {
    pub(super) async fn take_jobs(&self, line: Name, max: usize) -> Result<Batch, Fault> {
        self.ready(line).await?;
        if self.any_aside() {
            self.refill(line).await?;
        }
        let mut batch = Batch::default();
        let mut again = true;
        while again {
            again = false;
            for scope in self.scopes_by_turn(line) {
                let room = max.saturating_sub(batch.jobs.len()).min(TAKEN_PER_CALL);
                if room > 0 {
                    let before = batch.jobs.len();
                    // What others had put there waits now as ours.
                    again |= self.take_scope(&scope, room, &mut batch).await? > 0;
                    again |= batch.jobs.len() - before == TAKEN_PER_CALL;
                }
            }
        }
        self.inner.server.started(&self.inner.names, &batch.jobs);
        Ok(batch)
    }

    /// On Cluster each taking begins with another lane, as often as its weight says.
    fn scopes_by_turn(&self, line: Name) -> Vec<Scope> {
        let mut scopes = self.scopes(line);
        if scopes.len() > 1 && !self.inner.rules.strict {
            let weights = &self.inner.rules.weights;
            let mut lines = self.inner.lines.lock().unwrap_or_else(|e| e.into_inner());
            let state = lines.entry(line).or_default();
            let mut credits: Vec<i64> = state.credits.split(',').map(|c| c.parse().unwrap_or(0)).collect();
            credits.resize(weights.len(), 0);
            credits.iter_mut().zip(weights).for_each(|(credit, weight)| *credit += i64::from(*weight));
            let first = (0..credits.len()).max_by_key(|i| (credits[*i], std::cmp::Reverse(*i))).unwrap_or(0);
            credits[first] -= weights.iter().map(|w| i64::from(*w)).sum::<i64>();
            state.credits = credits.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
            let first = scopes.remove(first.min(scopes.len() - 1));
            scopes.insert(0, first);
        }
        scopes
    }

    /// Takes from one scope; says how many foreign tasks became jobs of ours.
    async fn take_scope(&self, scope: &Scope, max: usize, batch: &mut Batch) -> Result<usize, Fault> {
        let Inner { rules, scripts, next_lease, lines, .. } = &*self.inner;
        let first = next_lease.fetch_add(scope.lanes.len() as u64, Ordering::AcqRel);
        let all = scope.lanes.len() > 1 || self.inner.names.lanes() == 1;
        let credits = if all {
            let mut lines = lines.lock().unwrap_or_else(|e| e.into_inner());
            lines.entry(scope.line).or_default().credits.clone()
        } else {
            String::new()
        };
        let credits = if credits.is_empty() { vec!["0"; scope.lanes.len()].join(",") } else { credits };
        let weights: Vec<String> = scope.lanes.iter().map(|lane| rules.weights[usize::from(lane.0)].to_string()).collect();
        let late = match rules.on_late {
            OnLate::Run => "r",
            OnLate::Park => "p",
            OnLate::Drop => "d",
        };
        let args = vec![
            arg(max),
            arg(rules.lease),
            arg(first),
            arg(u8::from(rules.strict)),
            arg(weights.join(",")),
            arg(credits),
            arg(late),
            arg(rules.expire_after),
            arg(LATE_PER_TAKE),
            arg(if all { scope.documents() } else { String::new() }),
            arg(DOCUMENT_MS),
        ];
        let (credits, dropped, lots, late, messages, documents, foreign): TakeAnswer =
            self.run(scope, &scripts.take, args).await?;
        if all {
            let mut lines = lines.lock().unwrap_or_else(|e| e.into_inner());
            lines.entry(scope.line).or_default().credits = credits;
        }
        batch.dropped += dropped;
        let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<usize>().ok());
        let messages: HashMap<usize, &[u8]> =
            messages.chunks(2).filter_map(|pair| Some((number(pair.first()?)?, pair.get(1)?.as_slice()))).collect();
        let documents: HashMap<usize, &str> =
            documents.chunks(2).filter_map(|pair| Some((pair.first()?.parse().ok()?, pair.get(1)?.as_str()))).collect();
        let mut parked = Vec::new();
        let rows =
            lots.iter().flat_map(|(bases, waited)| bases.iter().map(String::as_str).zip(waited.iter().map(String::as_str)));
        for (at, row) in rows.enumerate() {
            let (message, document) = (messages.get(&(at + 1)), documents.get(&(at + 1)));
            let Some(mut job) = self.taken(scope, row, first, message.copied().unwrap_or_default()) else {
                let what = format!("job {row:?} of line {}: its record cannot be read; its lease will end", scope.line);
                return Err(Fault::new(FaultKind::Corrupt, self.inner.redis.place(), what));
            };
            job.last_document = document.and_then(|text| self.document(text));
            if late.contains(&(at + 1)) { parked.push(job) } else { batch.jobs.push(job) }
        }
        batch.parked += parked.len() as u64;
        if !parked.is_empty() {
            self.park(parked).await?;
        }
        if foreign.is_empty() { Ok(0) } else { self.adopt(scope, foreign).await }
    }

    /// K5: a hash of another life counts for nothing.
    fn document(&self, text: &str) -> Option<u64> {
        let (life, hash) = text.rsplit_once(',')?;
        (life == self.known_life()).then(|| hash.parse().ok()).flatten()
    }

    pub(super) fn known_life(&self) -> String {
        self.inner.life.lock().unwrap_or_else(|e| e.into_inner()).clone().unwrap_or_default()
    }

    /// A job as the script hands it out: base, and what waited; the leases of its taking begin with `first`.
    fn taken(&self, scope: &Scope, (base, waited): (&str, &str), first: u64, msg: &[u8]) -> Option<Taken> {
        let (name, _) = waited.split_once(',')?;
        let (_, load) = waited.strip_suffix('/').unwrap_or(waited).split_once('|')?;
        let (at, lane) = scope.lanes.iter().enumerate().find(|(_, lane)| self.inner.names.lane(**lane) == name)?;
        let (attempts, load) = record::unpack(load)?;
        let key = JobKey { line: scope.line, row: row_of(base, msg, scope.line)? };
        Some(Taken { key, lane: *lane, load, attempts, lease: Lease(first + at as u64), last_document: None })
    }

    /// J8: late jobs lie aside first, then leave Redis.
    async fn park(&self, jobs: Vec<Taken>) -> Result<(), Fault> {
        let ends: Vec<_> = jobs.iter().map(|job| (job.key.clone(), job.lease, "x".to_owned(), None)).collect();
        let gate = self.inner.gate.lock().await;
        let put = move |overflow: &mut Overflow| {
            jobs.into_iter().try_for_each(|job| overflow.put(&job.key, job.lane, job.attempts, job.load, Hold::Parked))
        };
        self.aside(put).await?;
        drop(gate);
        self.settle(ends).await.map(drop)
    }

    /// Tasks that others put into our queues become jobs of ours: their rows are offered, then they end.
    async fn adopt(&self, scope: &Scope, foreign: Vec<ForeignRow>) -> Result<usize, Fault> {
        use prost::Message;
        let (mut offers, mut ends, mut adopted) = (Vec::new(), Vec::new(), 0);
        for (lane, id, msg) in foreign {
            let task = message::TaskMessage::decode(msg.as_slice()).map_err(|e| format!("not a task of asynq: {e}"));
            let row = task.as_ref().map_err(String::clone).and_then(|task| message::row_of(&task.payload, scope.line.as_str()));
            let lock = task.map_or_else(|_| String::new(), |task| task.unique_key);
            let (kind, reason) = match row {
                Ok(row) => {
                    let key = JobKey { line: scope.line, row: RowKey::new(&row) };
                    offers.push(OfferItem { lane: scope.lane(lane), ..OfferItem::new(&key, 0, &Load::default()) });
                    adopted += 1;
                    ("d", String::new())
                }
                Err(reason) => {
                    tracing::warn!(line = %scope.line, task = %id, %reason, "a foreign task cannot be worked, it is archived");
                    ("b", reason)
                }
            };
            let reason = message::short(&reason).as_bytes().to_vec();
            ends.extend([arg(kind), arg(lane), id.into_bytes(), lock.into_bytes(), reason]);
        }
        if !offers.is_empty() {
            self.offer_items(scope, "s", &offers, &[]).await?;
        }
        self.run::<i64>(scope, &self.inner.scripts.foreign, ends).await?;
        Ok(adopted)
    }
}

/// The row of a job, from its id or its message.
pub(super) fn row_of(base: &str, msg: &[u8], line: Name) -> Option<RowKey> {
    use prost::Message;
    keys::row_of(base).or_else(|| {
        let task = message::TaskMessage::decode(msg).ok()?;
        message::row_of(&task.payload, line.as_str()).ok().map(|row| RowKey::new(&row))
    })
}

//! Verdicts on runs (J7, J10, K5), and leases kept by progress.

use super::overflow::Overflow;
use super::queue::{AsynqQueue, arg};
use super::scripts::Scope;
use super::{keys, message};
use crate::domain::fault::Fault;
use crate::domain::ids::Name;
use crate::domain::job::{JobKey, Lease, Settled, Verdict};
use crate::ports::queue::Finish;

/// Verdicts of one script call.
const VERDICTS_PER_CALL: usize = 200;
/// K5: how long a document's hash counts.
pub(super) const DOCUMENT_MS: i64 = 3_600_000;

/// Key, lease, kind as in `finish.lua`, and the document's hash (K5).
pub(super) type End = (JobKey, Lease, String, Option<u64>);

impl AsynqQueue {
    pub(super) async fn finish_all(&self, verdicts: Vec<Finish>) -> Result<Vec<Settled>, Fault> {
        let skipping = !self.inner.redis.is_cluster() || self.inner.names.lanes() == 1;
        let life = self.known_life();
        let ends = verdicts.into_iter().map(|Finish { key, lease, verdict, document }| {
            let (kind, hash) = match verdict {
                Verdict::Done => match document.filter(|_| skipping && !life.is_empty()) {
                    Some(hash) => (String::from("h"), Some(hash)),
                    None => (String::from("d"), None),
                },
                Verdict::Retry { at, counts } => (format!("{}{}", if counts { 'r' } else { 'c' }, at.0), None),
                Verdict::Bury { reason } => (format!("b{}", message::short(&reason)), None),
                Verdict::Requeue => (String::from("q"), None),
            };
            (key, lease, kind, hash)
        });
        self.settle(ends.collect()).await
    }

    pub(super) async fn settle(&self, ends: Vec<End>) -> Result<Vec<Settled>, Fault> {
        self.inner.server.ended(&ends);
        let mut settled = vec![Settled::LeaseGone; ends.len()];
        let mut lines: Vec<Name> = ends.iter().map(|end| end.0.line).collect();
        lines.sort_unstable();
        lines.dedup();
        let mut rows_ended = Vec::new();
        for line in lines {
            for scope in self.scopes(line) {
                let open: Vec<usize> =
                    (0..ends.len()).filter(|i| ends[*i].0.line == line && settled[*i] == Settled::LeaseGone).collect();
                for chunk in open.chunks(VERDICTS_PER_CALL) {
                    for (i, code) in chunk.iter().zip(self.finish_chunk(&scope, chunk, &ends).await?) {
                        let (code, gen_text) = code.split_at(code.len().min(1));
                        settled[*i] = match code {
                            "1" | "3" => Settled::Applied,
                            "2" => Settled::GaveWay,
                            _ => continue,
                        };
                        if code != "1" || !ends[*i].2.starts_with(['d', 'h', 'x', 'b']) {
                            self.inner.bells.of(line).notify_waiters();
                        }
                        let seq = gen_text.strip_prefix(&self.inner.token).and_then(|rest| rest.strip_prefix('-')?.parse().ok());
                        rows_ended.extend(seq.map(|seq: u64| (ends[*i].0.clone(), seq)));
                    }
                }
            }
        }
        if !rows_ended.is_empty() {
            self.rows_ended(rows_ended).await?;
        }
        Ok(settled)
    }

    pub(super) async fn rows_ended(&self, rows: Vec<(JobKey, u64)>) -> Result<(), Fault> {
        let _gate = self.inner.gate.lock().await;
        let end = move |overflow: &mut Overflow| {
            overflow.look_at(rows.iter().map(|(key, _)| key))?;
            rows.iter().try_for_each(|(key, seq)| overflow.ended(key, *seq))
        };
        self.aside(end).await
    }

    async fn finish_chunk(&self, scope: &Scope, chunk: &[usize], ends: &[End]) -> Result<Vec<String>, Fault> {
        // What shares a lease and a kind goes together; each verdict's place is remembered.
        let mut order: Vec<usize> = (0..chunk.len()).collect();
        let alike = |i: &usize| (ends[chunk[*i]].1, ends[chunk[*i]].2.as_str());
        order.sort_by(|a, b| alike(a).cmp(&alike(b)));
        let mut args = vec![arg(scope.documents()), arg(DOCUMENT_MS), self.known_life().into_bytes()];
        for group in order.chunk_by(|a, b| alike(a) == alike(b)) {
            let Some((Lease(lease), kind)) = group.first().map(alike) else { continue };
            args.extend([arg(lease), arg(kind), arg(group.len())]);
            for (key, .., hash) in group.iter().map(|i| &ends[chunk[*i]]) {
                args.push(keys::base(&key.row).into_bytes());
                args.extend(hash.map(arg));
            }
        }
        let answers: Vec<String> = self.run(scope, &self.inner.scripts.finish, args).await?;
        if answers.is_empty() {
            return Ok(vec![String::from("1"); chunk.len()]);
        }
        let mut placed = vec![String::from("0"); chunk.len()];
        order.into_iter().zip(answers).for_each(|(i, answer)| placed[i] = answer);
        Ok(placed)
    }

    pub(super) async fn extend_all(&self, leases: Vec<(JobKey, Lease)>) -> Result<(), Fault> {
        let mut lines: Vec<Name> = leases.iter().map(|(key, _)| key.line).collect();
        lines.sort_unstable();
        lines.dedup();
        for line in lines {
            for scope in self.scopes(line) {
                let mut args = vec![arg(self.inner.rules.lease)];
                for (key, lease) in leases.iter().filter(|(key, _)| key.line == line) {
                    args.extend([keys::base(&key.row).into_bytes(), arg(lease.0)]);
                }
                self.run::<i64>(&scope, &self.inner.scripts.extend, args).await?;
            }
        }
        Ok(())
    }
}

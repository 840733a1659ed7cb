//! Delivered-through marks: kept every few seconds, and gone back to when the queue has lost its content (J11).

use super::Supervisor;
use crate::domain::epoch::Epochs;
use crate::domain::fault::Fault;
use crate::domain::ids::{Millis, Name, NextOffset, Partition};
use crate::domain::mark::{Lives, Mark, Positions, Samples};
use crate::ports::ledger::Ledger;
use crate::ports::queue::JobQueue;
use crate::ports::source::Assigned;
use actix::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Notes in the ledger, by partition: the life it has noted, and its mark.
const LIFE: &str = "queue/life/";
const MARK: &str = "queue/mark/";

/// The node's marks. One mark serves all lines: the least of what each line would keep.
#[derive(Default)]
pub(super) struct Marks {
    pub(super) lives: Lives,
    samples: Samples,
    mark: BTreeMap<Partition, Mark>,
    busy: bool,
}

/// What owners of partitions noted: the life each knew, and its mark.
#[derive(Default)]
pub struct Noted {
    lives: Vec<(Partition, String)>,
    marks: BTreeMap<Partition, Mark>,
}

/// Reads what was noted.
pub(super) async fn noted(ledger: &dyn Ledger) -> Result<Noted, Fault> {
    let lives = ledger.notes(LIFE).await?;
    let lives = lives.into_iter().filter_map(|(name, life)| Some((partition(name.strip_prefix(LIFE)?)?, life)));
    let marks = ledger.notes(MARK).await?;
    // A mark that cannot be read is no mark: the beginning is always safe.
    let mark = |(name, at): (String, String)| Some((partition(name.strip_prefix(MARK)?)?, Mark::parse(&at)?));
    Ok(Noted { lives: lives.collect(), marks: marks.into_iter().filter_map(mark).collect() })
}

/// The queue's life, and what earlier processes noted.
pub(super) async fn remember(queue: Arc<dyn JobQueue>, ledger: Arc<dyn Ledger>) -> Result<(String, Noted), Fault> {
    Ok((queue.life().await?, noted(&*ledger).await?))
}

impl Supervisor {
    pub(super) fn remembered(&mut self, (life, noted): (String, Noted)) {
        self.marks.lives.remember(noted.lives);
        self.marks.lives.heard(&life, &Positions::new());
        self.marks.mark = noted.marks;
    }

    /// Partitions come to this process: what their last owners noted since it started counts. The queue's life is heard
    /// elsewhere, so that a loss is not passed over for the partitions that are here already.
    pub(super) fn remember_of(&mut self, assigned: &[Assigned], noted: Noted) {
        let coming = |partition: &Partition| assigned.iter().any(|a| a.partition == *partition);
        self.marks.lives.remember(noted.lives.into_iter().filter(|(partition, _)| coming(partition)));
        self.marks.mark.extend(noted.marks.into_iter().filter(|(partition, _)| coming(partition)));
    }

    /// Where a partition begins: where it committed, or at the mark when the queue has lived another life since.
    pub(super) fn begin_at(&mut self, assigned: &Assigned) -> NextOffset {
        let (partition, committed) = (assigned.partition, assigned.start);
        self.marks.samples.forget(partition);
        if !self.marks.lives.assigned(partition, committed) {
            return committed;
        }
        let mark = self.mark_within(partition, &assigned.epochs).min(committed);
        tracing::error!(%partition, from = mark.0, to = committed.0, "queue lost its jobs, records are read again");
        mark
    }

    /// Where the mark of a partition that goes back lies. Jobs of an earlier life of the topic have no records any more: a
    /// sweep is owed (E4), and all of this life is read again.
    fn mark_within(&mut self, partition: Partition, epochs: &Epochs) -> NextOffset {
        let mark = self.marks.mark.get(&partition).copied().unwrap_or_default();
        mark.within(epochs).unwrap_or_else(|| {
            tracing::error!(%partition, %mark, "mark is of an earlier life of the topic, every row gets a job");
            self.marks.lives.cut(partition);
            NextOffset(0)
        })
    }

    /// A partition that left goes back over no loss; its next owner does.
    pub(super) fn unmark(&mut self, partition: Partition) {
        self.marks.lives.left(partition);
    }

    /// What must be noted before these are committed: a life that nobody noted could not be missed. Who goes back stays
    /// noted under the old life, which is what makes the next owner go back too.
    pub(super) fn life_notes(&self, owed: &[super::durability::Owed]) -> Vec<(String, Option<String>)> {
        let partitions = owed.iter().flat_map(|(_, positions)| positions.iter().map(|(partition, _)| *partition));
        let Some(life) = self.marks.lives.current() else { return Vec::new() };
        let unnoted = partitions.filter(|p| self.marks.lives.is_unnoted(*p));
        unnoted.map(|p| (format!("{LIFE}{p}"), Some(life.to_owned()))).collect()
    }

    /// Every few seconds: hear the queue's life, take a sample, move the mark.
    pub(super) fn keep_marks(&mut self, ctx: &mut Context<Self>) {
        // Without partitions there is nothing to mark, and what another process marked stays.
        if self.marks.busy || self.partitions.is_empty() {
            return;
        }
        self.marks.busy = true;
        let queue = Arc::clone(&self.stores.queue);
        let lines: Vec<Name> = self.settings.lines.iter().map(|l| l.line.name).collect();
        let asking = async move {
            let mut oldest: Option<Millis> = None;
            for line in lines {
                for lane in queue.counts(line).await? {
                    oldest = match (oldest, lane.unfinished) {
                        (Some(a), Some(b)) => Some(a.min(b)),
                        (a, b) => a.or(b),
                    };
                }
            }
            // Last: a queue lost in between has nothing unfinished, and that must not be taken for the old life's.
            let life = queue.life().await?;
            Ok::<_, Fault>((life, oldest))
        };
        ctx.spawn(asking.into_actor(self).map(|answer, act, ctx| match answer {
            Ok((life, oldest)) => act.heard(&life, oldest, ctx),
            Err(fault) => {
                act.marks.busy = false;
                tracing::warn!(%fault, "queue does not say how far it is, the mark stays");
            }
        }));
    }

    fn heard(&mut self, life: &str, oldest: Option<Millis>, ctx: &mut Context<Self>) {
        let committed = self.hall.board.all_committed();
        if self.marks.lives.heard(life, &committed) {
            self.marks.samples.clear();
            self.go_back(&committed);
        }
        let settled = self.hall.board.all_settled();
        let noting = self.marks.lives.to_note(&settled);
        let mut notes: Vec<(String, Option<String>)> =
            noting.iter().map(|p| (format!("{LIFE}{p}"), Some(life.to_owned()))).collect();
        let (now, mut moved) = (self.hall.now(), Vec::new());
        if self.marks.lives.marks_may_move() {
            self.marks.samples.take(now, committed);
            let mark = self.marks.samples.mark(oldest, now).cloned().unwrap_or_default();
            for (partition, next) in mark {
                // The mark of a partition that left is its next owner's.
                let Some(slot) = self.partitions.get(&partition) else { continue };
                let mark = Mark::at(next, &slot.assigned.epochs);
                let before = self.marks.mark.insert(partition, mark);
                if before != Some(mark) {
                    moved.push((partition, before.unwrap_or_default()));
                    notes.push((format!("{MARK}{partition}"), Some(mark.to_string())));
                }
            }
        }
        let ledger = Arc::clone(&self.ledger);
        let keeping = async move { if notes.is_empty() { Ok(()) } else { ledger.set_notes(notes).await } };
        ctx.spawn(keeping.into_actor(self).map(move |noted, act, _| {
            act.marks.busy = false;
            act.marks.lives.told(noting, noted.is_ok());
            if let Err(fault) = noted {
                // Else a partition where nothing more happens would keep its old mark for ever.
                act.marks.mark.extend(moved);
                tracing::warn!(%fault, "marks cannot be kept");
            }
        }));
    }

    /// The queue lost its content while this node lives: every partition reads again from the mark.
    fn go_back(&mut self, committed: &Positions) {
        let mut from = Positions::new();
        for (partition, stood) in committed {
            let Some(epochs) = self.partitions.get(partition).map(|slot| slot.assigned.epochs.clone()) else { continue };
            from.insert(*partition, self.mark_within(*partition, &epochs).min(*stood));
        }
        self.read_again(&from, "the queue lost its jobs");
    }
}

/// `topic/number`; topics hold no `/` of their own in Kafka, files may.
fn partition(text: &str) -> Option<Partition> {
    let (topic, number) = text.rsplit_once('/')?;
    Some(Partition { topic: Name::intern(topic).ok()?, number: number.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_reads_as_it_was_written() {
        for name in ["shop.orders", "a/b"] {
            let at = Partition { topic: Name::of(name), number: 3 };
            assert_eq!(partition(&at.to_string()), Some(at));
        }
        assert_eq!(partition("orders"), None);
    }
}

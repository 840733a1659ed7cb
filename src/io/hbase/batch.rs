//! Many rows at once: who gets what, and what is tried again.
//!
//! Rows are sorted, located and cut into calls of one server each; every call is retried on its own, so that a slow server
//! holds up its own rows only. What is done about a failure is its class's advice (`error.rs`). A row that no server accepts
//! never fails its neighbours: a refused batch is halved until the row stands alone. A row that comes twice is sent in a
//! second wave. Everything ends by the operation's deadline. Knows nothing of messages and sockets.

use super::backoff;
use super::error::{Advice, Class, Error};
use super::frame::Service;
use super::locator::{Locator, Region};
use super::multi::{self, Answer, Entry, Failure, Item, Section};
use super::node::Pool;
use super::registry::{Life, Registry};
use super::types::{TableName, TableState};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Tries of an error that is on no list of ours.
const UNKNOWN_TRIES: u32 = 8;
/// A region that nobody serves may belong to a disabled table: asked at this try, and every so many later.
const STATE_ASKED_EVERY: u32 = 4;

/// What every operation needs.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) pool: Arc<Pool>,
    pub(super) registry: Arc<Registry>,
    pub(super) locator: Locator,
    pub(super) limits: Limits,
    pub(super) nonce_group: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) call_timeout: Duration,
    pub(super) operation_timeout: Duration,
    pub(super) rows_per_call: usize,
    pub(super) bytes_per_call: usize,
    pub(super) regions_per_call: usize,
    pub(super) nonces: bool,
}

impl Core {
    /// The error to end with when the table is disabled: its regions are served by nobody, for ever.
    pub(super) async fn disabled(&self, table: &TableName) -> Option<Error> {
        match self.locator.table_state(table).await {
            Ok(Some(TableState::Disabled | TableState::Disabling)) => {
                let text = "the table is disabled; enable it in the HBase shell";
                Some(Error::new(Class::TableDisabled, format_args!("table {table}"), text))
            }
            _ => None,
        }
    }
}

/// After so many tries that ended so, the table itself may be the cause.
pub(super) fn is_suspect(tries: u32, class: Class) -> bool {
    tries % STATE_ASKED_EVERY == STATE_ASKED_EVERY - 1 && matches!(class, Class::NotServing | Class::NoRegion)
}

/// One row on its way.
#[derive(Clone, Debug)]
struct Pending {
    /// Where it stands in the batch.
    index: usize,
    tries: u32,
    nonce: u64,
    /// Where that nonce was sent.
    sent_to: Option<Arc<Region>>,
    /// An earlier try may have taken effect.
    maybe_done: bool,
    last: Option<Class>,
}

/// One call: rows of some regions of one server.
#[derive(Debug)]
struct Group {
    life: Life,
    rows: Vec<Pending>,
    sections: Vec<Section>,
    bytes: usize,
}

enum Step {
    Routed { groups: Vec<Group>, failed: Vec<(Pending, Error)> },
    Answered { group: Group, outcomes: Result<Vec<Result<Answer, Failure>>, Error> },
}

type Work<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Step> + Send + 'a>>>;

/// What a batch works with; cheap to copy into its futures.
#[derive(Clone, Copy)]
struct Scope<'a> {
    core: &'a Core,
    table: &'a TableName,
    items: &'a [Item],
    deadline: Instant,
}

/// Does what every item asks; outcomes in the order of the items.
pub(super) async fn run(core: &Core, table: &TableName, items: Vec<Item>) -> Vec<Result<Answer, Error>> {
    let mut results: Vec<Option<Result<Answer, Error>>> = vec![None; items.len()];
    let scope = Scope { core, table, items: &items, deadline: Instant::now() + core.limits.operation_timeout };
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by(|a, b| items[*a].row().cmp(items[*b].row()));
    while !order.is_empty() {
        let (wave, later) = first_of_each(&items, order);
        scope.wave(wave, &mut results).await;
        order = later;
    }
    let lost = || Error::new(Class::Invalid, format_args!("table {table}"), "the row was not handled");
    results.into_iter().map(|result| result.unwrap_or_else(|| Err(lost()))).collect()
}

/// The first item of each row, and the rest; both keep their order.
fn first_of_each(items: &[Item], order: Vec<usize>) -> (Vec<usize>, Vec<usize>) {
    let mut last = None;
    order.into_iter().partition(|index| last.replace(*index).is_none_or(|before| items[before].row() != items[*index].row()))
}

impl<'a> Scope<'a> {
    async fn wave(self, order: Vec<usize>, results: &mut [Option<Result<Answer, Error>>]) {
        let fresh = |index| Pending { index, tries: 0, nonce: 0, sent_to: None, maybe_done: false, last: None };
        let mut work: Work<'a> = FuturesUnordered::new();
        work.push(Box::pin(self.route(order.into_iter().map(fresh).collect(), Duration::ZERO)));
        while let Some(step) = work.next().await {
            match step {
                Step::Routed { groups, failed } => {
                    groups.into_iter().for_each(|group| work.push(Box::pin(self.send(group))));
                    let failed = failed.into_iter().map(|(row, error)| (row, Failure { error, whole: false })).collect();
                    self.retry(failed, false, results, &work);
                }
                Step::Answered { group, outcomes } => self.sort_out(group, outcomes, results, &work),
            }
        }
    }

    /// Finds the servers of these rows, which are in key order, after a pause.
    async fn route(self, rows: Vec<Pending>, pause: Duration) -> Step {
        let backup = rows.clone();
        let routing = async {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            self.locate(rows).await
        };
        match tokio::time::timeout_at(self.deadline, routing).await {
            Ok((located, failed)) => Step::Routed { groups: self.cut(located), failed },
            Err(_) => {
                let error =
                    Error::new(Class::Timeout, format_args!("table {}", self.table), "its regions were not found in time");
                Step::Routed { groups: Vec::new(), failed: backup.into_iter().map(|row| (row, error.clone())).collect() }
            }
        }
    }

    async fn locate(self, rows: Vec<Pending>) -> (Vec<(Pending, Arc<Region>)>, Vec<(Pending, Error)>) {
        let (mut located, mut failed) = (Vec::with_capacity(rows.len()), Vec::new());
        let unserved = |row: &Pending| row.last.is_some_and(|class| is_suspect(row.tries, class));
        let mut common = None;
        if rows.iter().any(unserved) {
            common = self.core.disabled(self.table).await;
        }
        let mut current: Option<Arc<Region>> = None;
        for row in rows {
            let key = self.items[row.index].row();
            if let Some(error) = &common {
                failed.push((row, error.clone()));
                continue;
            }
            let region = match current.take().filter(|region| region.holds(key)) {
                Some(region) => Ok(region),
                None => self.core.locator.locate(self.table, key).await,
            };
            match region {
                Ok(region) => {
                    current = Some(Arc::clone(&region));
                    located.push((row, region));
                }
                Err(error) => {
                    // Only a hole concerns one row; whatever else keeps meta from us keeps the next rows waiting too.
                    common = (error.class != Class::NoRegion).then(|| error.clone());
                    failed.push((row, error));
                }
            }
        }
        (located, failed)
    }

    /// Cuts located rows into calls.
    fn cut(self, located: Vec<(Pending, Arc<Region>)>) -> Vec<Group> {
        let limits = self.core.limits;
        let mut groups: Vec<Group> = Vec::new();
        for (row, region) in located {
            let weight = self.items[row.index].weight();
            // Rows come in key order, so a server's open call is among the last of each server.
            let open = groups.iter_mut().rev().find(|group| group.life == region.server).filter(|group| {
                let fits = group.rows.len() < limits.rows_per_call && group.bytes + weight <= limits.bytes_per_call;
                let same = group.sections.last().is_some_and(|section| Arc::ptr_eq(&section.region, &region));
                fits && (same || group.sections.len() < limits.regions_per_call)
            });
            let group = match open {
                Some(group) => group,
                None => {
                    groups.push(Group { life: region.server.clone(), rows: Vec::new(), sections: Vec::new(), bytes: 0 });
                    // Just pushed.
                    let last = groups.len() - 1;
                    &mut groups[last]
                }
            };
            let at = group.rows.len();
            group.rows.push(row);
            group.bytes += weight;
            match group.sections.last_mut() {
                Some(section) if Arc::ptr_eq(&section.region, &region) => section.rows.end = at + 1,
                _ => group.sections.push(Section { region, rows: at..at + 1 }),
            }
        }
        groups
    }

    async fn send(self, mut group: Group) -> Step {
        let node = self.core.pool.node(&group.life.address, Service::Client);
        let place = format!("Multi of table {} on {}", self.table, group.life.address);
        let Ok(permit) = tokio::time::timeout_at(self.deadline, node.window.enter()).await else {
            let error = Error::new(Class::Timeout, place, "its window gave no room in time");
            return Step::Answered { group, outcomes: Err(error) };
        };
        self.give_nonces(&mut group);
        let entry = |row: &Pending| Entry { item: &self.items[row.index], nonce: row.nonce };
        let entries: Vec<Entry<'_>> = group.rows.iter().map(entry).collect();
        let request = multi::request(&entries, &group.sections, self.core.nonce_group);
        let timeout = self.core.limits.call_timeout.min(self.deadline.saturating_duration_since(Instant::now()));
        let outcomes = match node.call("Multi", &request, multi::cells(&entries), timeout).await {
            Ok(reply) => multi::outcomes(&entries, &group.sections, reply, &place),
            Err(error) => Err(error),
        };
        // Silence is mostly work that piles up.
        let slow = |error: &Error| error.advice() == Advice::SlowDown || error.overloaded || error.class == Class::Timeout;
        let refused = match &outcomes {
            Ok(rows) => rows.iter().any(|row| row.as_ref().is_err_and(|failure| slow(&failure.error))),
            Err(error) => slow(error),
        };
        if refused {
            permit.refused();
            tracing::debug!(server = %group.life.address, window = node.window.limit(), "server asks for less");
        } else if outcomes.is_ok() {
            permit.answered();
        }
        drop(entries);
        Step::Answered { group, outcomes }
    }

    /// A nonce makes a repeated increment count once, as long as region and server are the same; anywhere else the old
    /// one would mean nothing, or keep a needed bump from happening.
    fn give_nonces(self, group: &mut Group) {
        if !self.core.limits.nonces {
            return;
        }
        for section in &group.sections {
            for row in &mut group.rows[section.rows.clone()] {
                let known = |region: &Arc<Region>| {
                    region.server.start_code != 0 && region.server == section.region.server && region.name == section.region.name
                };
                if self.items[row.index].counts() && !row.sent_to.as_ref().is_some_and(known) {
                    row.nonce = backoff::random();
                    row.sent_to = Some(Arc::clone(&section.region));
                }
            }
        }
    }

    /// Takes a call's outcomes to where they belong.
    fn sort_out(
        self,
        group: Group,
        outcomes: Result<Vec<Result<Answer, Failure>>, Error>,
        results: &mut [Option<Result<Answer, Error>>],
        work: &Work<'a>,
    ) {
        let Group { life, rows, sections, .. } = group;
        let outcomes = match outcomes {
            Ok(outcomes) => outcomes,
            Err(error) => {
                self.heed(&error, &life, &sections);
                let failed: Vec<_> = rows.into_iter().map(|row| (row, Failure { error: error.clone(), whole: true })).collect();
                return self.retry(failed, false, results, work);
            }
        };
        let mut progress = false;
        let mut failures: Vec<Vec<(Pending, Failure)>> = sections.iter().map(|_| Vec::new()).collect();
        for (at, (row, outcome)) in rows.into_iter().zip(outcomes).enumerate() {
            match outcome {
                Ok(answer) => {
                    progress = true;
                    results[row.index] = Some(Ok(answer));
                }
                Err(failure) => {
                    let section = sections.partition_point(|section| section.rows.end <= at);
                    if let Some(failures) = failures.get_mut(section) {
                        failures.push((row, failure));
                    }
                }
            }
        }
        for (section, failed) in sections.into_iter().zip(failures) {
            if let Some((_, failure)) = failed.first() {
                self.heed(&failure.error, &life, std::slice::from_ref(&section));
                self.retry(failed, progress, results, work);
            }
        }
    }

    /// Draws an error's conclusions for what we remember of regions and servers.
    fn heed(self, error: &Error, life: &Life, sections: &[Section]) {
        let locator = &self.core.locator;
        match error.advice() {
            Advice::Relocate => sections.iter().for_each(|section| locator.forget(self.table, &section.region)),
            Advice::Follow => {
                for section in sections {
                    match error.moved_to.as_deref() {
                        Some(to) => locator.moved(self.table, &section.region, to.clone()),
                        None => locator.forget(self.table, &section.region),
                    }
                }
            }
            Advice::LeaveServer => {
                locator.forget_server(life);
                if matches!(error.class, Class::Stopping | Class::Garbled) {
                    self.core.pool.node(&life.address, Service::Client).close();
                }
            }
            _ => {}
        }
    }

    /// Decides for each failed row whether it is sent again, and when.
    fn retry(
        self,
        failed: Vec<(Pending, Failure)>,
        progress: bool,
        results: &mut [Option<Result<Answer, Error>>],
        work: &Work<'a>,
    ) {
        let alone = failed.len() < 2;
        let (mut at_once, mut later, mut halves) = (Vec::new(), Vec::new(), Vec::new());
        let mut pause = Duration::ZERO;
        for (mut row, failure) in failed {
            let Failure { error, whole } = failure;
            row.maybe_done |= error.outcome_unknown;
            row.last = Some(error.class);
            let conditional = self.items[row.index].is_conditional() && (row.maybe_done || error.class.may_be_done());
            let given_up = error.class == Class::Unknown && row.tries >= UNKNOWN_TRIES;
            let ends = given_up || conditional || matches!(error.advice(), Advice::Fail | Advice::Split);
            if ends && whole && !alone && !conditional && error.class.may_be_one_rows_fault() {
                halves.push(row);
                continue;
            }
            if given_up {
                tracing::warn!(error = %error, tries = row.tries, "an error that is on no list did not pass");
            }
            let wait = if ends { Duration::ZERO } else { backoff::pause(row.tries + 1, &error) };
            if ends || Instant::now() + wait >= self.deadline {
                let error = if row.maybe_done || conditional { error.with_unknown_outcome() } else { error };
                results[row.index] = Some(Err(error));
                continue;
            }
            tracing::trace!(error = %error, tries = row.tries, "row is tried again");
            row.tries += 1;
            if error.advice() == Advice::Resend && progress {
                at_once.push(row);
            } else {
                pause = pause.max(wait);
                later.push(row);
            }
        }
        let second = halves.split_off(halves.len() / 2);
        for (rows, pause) in [(at_once, Duration::ZERO), (later, pause), (halves, Duration::ZERO), (second, Duration::ZERO)] {
            if !rows.is_empty() {
                work.push(Box::pin(self.route(rows, pause)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::hbase::types::Get;

    /// Goal: a row that comes twice is handled once per wave, in the order given. Method: rows with twins, sorted.
    #[test]
    fn twins_go_in_later_waves() {
        let items: Vec<Item> = ["b", "a", "b", "c", "b"].iter().map(|row| Item::Get(Get::new(row.as_bytes()))).collect();
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by(|a, b| items[*a].row().cmp(items[*b].row()));
        let mut waves = Vec::new();
        while !order.is_empty() {
            let (wave, later) = first_of_each(&items, order);
            waves.push(wave);
            order = later;
        }
        assert_eq!(waves, [vec![1, 0, 3], vec![2], vec![4]]);
    }
}

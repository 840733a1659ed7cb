//! One line's documents in one index: the door.
//!
//! Keeps K1, K2 (versions on every write, bodies not older than half of `gc_deletes` and only under a lease, nothing sent
//! twice whose outcome is unknown) and J7 (what is not the document's fault uses up no tries). Knows nothing of rows.

use super::bulk::{self, Bounds};
use super::client::{Ask, Client, Method};
use super::gate::Gate;
use super::mapping::Mapping;
use super::setup::{self, Ready};
use super::verdict::{self, Reading};
use super::window;
use crate::domain::fault::{Fault, FaultKind};
use crate::io::clients;
use crate::ports::Answer;
use crate::ports::clock::Moment;
use crate::ports::sink::{Freshness, Held, Sink, SinkOutcome, SinkWrite};
use futures_util::future::join_all;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A request is never cut below this because of a 413 some larger one met.
const LEARNED_BYTES_MIN: usize = 64 << 10;

/// Where documents go, and how much at once.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    pub index: String,
    /// How to make the index where it is missing; `None`: it is not ours to make.
    pub create: Option<Mapping>,
    pub docs: usize,
    pub bytes: usize,
    pub in_flight: usize,
}

/// Documents of one line in Elasticsearch or OpenSearch.
#[derive(Clone)]
pub struct ElasticsearchSink {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) client: Client,
    pub(super) options: SinkOptions,
    gate: Gate,
    ready: Mutex<Option<Arc<Ready>>>,
    /// Held by the one who looks, so that a line's workers do not all make the index.
    looking: tokio::sync::Mutex<()>,
    /// What 413 has taught, besides what is configured and what the server told.
    bytes_max: AtomicUsize,
}

impl ElasticsearchSink {
    /// Nothing is sent before the first write.
    pub fn new(client: Client, options: SinkOptions) -> Self {
        let (gate, bytes_max) = (Gate::new(options.in_flight), AtomicUsize::new(options.bytes));
        let inner = Inner { client, options, gate, ready: Mutex::default(), looking: tokio::sync::Mutex::default(), bytes_max };
        Self { inner: Arc::new(inner) }
    }

    fn put(&self, batch: Vec<SinkWrite>, fresh: Option<Freshness>) -> Answer<'_, Vec<SinkOutcome>> {
        let (inner, count) = (self.inner.clone(), batch.len());
        Box::pin(async move {
            let writing = async move { Ok(inner.write(batch, fresh).await) };
            // A caught panic tells nothing of the documents: they are tried again.
            clients::run(writing).await.unwrap_or_else(|fault| vec![SinkOutcome::Retry { fault, counts: true }; count])
        })
    }
}

/// What is not the documents' fault.
fn not_now(fault: &Fault) -> SinkOutcome {
    SinkOutcome::Retry { fault: fault.clone(), counts: false }
}

/// One call's writes that may be sent, and what became of them.
struct Writing<'a> {
    inner: &'a Inner,
    ready: &'a Ready,
    writes: &'a [SinkWrite],
    fresh: Option<&'a Freshness>,
}

impl Inner {
    async fn write(&self, batch: Vec<SinkWrite>, fresh: Option<Freshness>) -> Vec<SinkOutcome> {
        let ready = match self.ready().await {
            Ok(ready) => ready,
            Err(fault) => return batch.iter().map(|_| not_now(&fault)).collect(),
        };
        let mut outcomes: Vec<_> = batch.iter().map(|write| self.hopeless(write, &ready)).collect();
        let places: Vec<usize> = (0..batch.len()).filter(|at| outcomes[*at].is_none()).collect();
        let mut all = batch.into_iter().map(Some).collect::<Vec<_>>();
        let writes: Vec<SinkWrite> = places.iter().filter_map(|at| all[*at].take()).collect();
        let bounds = Bounds { docs: self.gate.docs(self.options.docs), bytes: self.request_bytes(&ready) };
        let writing = Writing { inner: self, ready: &ready, writes: &writes, fresh: fresh.as_ref() };
        let sent = join_all(bulk::cut(&writes, bounds).into_iter().map(|range| writing.send(range))).await;
        for (at, outcome) in sent.into_iter().flatten() {
            outcomes[places[at]] = Some(outcome);
        }
        let unanswered = || not_now(&Fault::new(FaultKind::Timeout, self.client.place(), "gave no answer for this document"));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(unanswered)).collect()
    }

    /// What the server could never take, found without asking it.
    fn hopeless(&self, write: &SinkWrite, ready: &Ready) -> Option<SinkOutcome> {
        let bytes = bulk::weight(write);
        let too_large = ready.request_bytes_max.filter(|max| bytes > *max).map(|max| too_large(bytes, Some(max)));
        bulk::bad_id(&write.id).or(too_large).map(SinkOutcome::Rejected)
    }

    fn request_bytes(&self, ready: &Ready) -> usize {
        self.bytes_max.load(Ordering::Relaxed).min(ready.request_bytes_max.unwrap_or(usize::MAX))
    }

    /// What was found out before the first write, or is found out now.
    async fn ready(&self) -> Result<Arc<Ready>, Fault> {
        let known = || self.ready.lock().unwrap_or_else(|e| e.into_inner()).clone();
        if let Some(ready) = known() {
            return Ok(ready);
        }
        let _looking = self.looking.lock().await;
        if let Some(ready) = known() {
            return Ok(ready);
        }
        let ready = Arc::new(setup::prepare(&self.client, &self.options.index, self.options.create.as_ref()).await?);
        let server = ready.product.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let age_max_s = ready.age_max.as_secs();
        tracing::info!(index = self.options.index, server, age_max_s, "search index is there");
        *self.ready.lock().unwrap_or_else(|e| e.into_inner()) = Some(ready.clone());
        Ok(ready)
    }

    fn look_again(&self) {
        *self.ready.lock().unwrap_or_else(|e| e.into_inner()) = None;
    }
}

fn too_large(bytes: usize, max: Option<usize>) -> String {
    let bound = max.map_or_else(String::new, |max| format!(" of {max} bytes"));
    format!("the document takes {bytes} bytes, more than the server's `http.max_content_length`{bound} lets through")
}

type Outcomes = Vec<(usize, SinkOutcome)>;

impl Writing<'_> {
    /// Sends a range as one request, and in halves where the server finds it too large or unreadable.
    async fn send(&self, range: Range<usize>) -> Outcomes {
        let (mut todo, mut done) = (vec![range], Vec::new());
        while let Some(range) = todo.pop() {
            let halves = self.send_once(range, &mut done).await;
            todo.extend(halves);
        }
        done
    }

    /// One request. Answers the halves that are to be sent instead.
    async fn send_once(&self, range: Range<usize>, done: &mut Outcomes) -> Vec<Range<usize>> {
        let writes = &self.writes[range.clone()];
        let mut all = |outcome: &SinkOutcome| done.extend(range.clone().map(|at| (at, outcome.clone())));
        let pass = self.inner.gate.pass().await;
        if let Err(fault) = self.may_send() {
            all(&not_now(&fault));
            return Vec::new();
        }
        let body = bulk::body(writes);
        let (bytes, began) = (body.len(), Instant::now());
        let reading = match self.post(body).await {
            Ok(reply) => verdict::read(reply.status, &reply.body, writes, &self.inner.client.place()),
            Err(fault) => Reading::Failed(fault),
        };
        let fine = window::Reply::Fine(began.elapsed());
        match reading {
            Reading::Items { outcomes, throttled, no_index } => {
                pass.told(if throttled { window::Reply::PushedBack } else { fine });
                if no_index {
                    self.inner.look_again();
                }
                done.extend(range.zip(outcomes));
            }
            Reading::TooLarge => {
                drop(pass);
                if writes.len() > 1 {
                    self.inner.bytes_max.fetch_min((bytes / 2).max(LEARNED_BYTES_MIN), Ordering::Relaxed);
                    return halves(range);
                }
                all(&SinkOutcome::Rejected(too_large(bytes, None)));
            }
            // The server cannot read the request: one document spoils it for the others.
            Reading::Unreadable(_) if writes.len() > 1 => {
                pass.told(fine);
                return halves(range);
            }
            Reading::Unreadable(reason) => {
                pass.told(fine);
                all(&SinkOutcome::Rejected(reason));
            }
            Reading::Failed(fault) => {
                pass.told(window::Reply::PushedBack);
                if matches!(fault.kind, FaultKind::Forbidden | FaultKind::Incompatible) {
                    self.inner.look_again();
                }
                all(&not_now(&fault));
            }
        }
        Vec::new()
    }

    /// K2: the row is read again rather than an old body sent.
    fn may_send(&self) -> Result<(), Fault> {
        let age_max = self.ready.age_max;
        match self.fresh {
            Some(fresh) if !fresh.may_send(Moment::now(), age_max) => {
                let what = format!(
                    "waited longer than its lease, or than the {} s in which the index surely remembers deletes; the row is \
                     read again",
                    age_max.as_secs()
                );
                Err(Fault::new(FaultKind::Timeout, self.inner.client.place(), what))
            }
            _ => Ok(()),
        }
    }

    async fn post(&self, body: Vec<u8>) -> Result<super::client::Reply, Fault> {
        let path = format!("{}/_bulk", self.inner.options.index);
        // The server gives up before we do, so that its answer comes in time.
        let timeout = format!("{}ms", shorter(self.inner.client.timeout()).as_millis());
        let query = [("filter_path", verdict::FILTER), ("timeout", timeout.as_str())];
        self.inner.client.send(Ask::with(Method::Post, &path, body).query(&query)).await
    }
}

fn shorter(timeout: Duration) -> Duration {
    timeout * 2 / 3
}

fn halves(range: Range<usize>) -> Vec<Range<usize>> {
    let middle = range.start + range.len() / 2;
    // The last is taken first, so that documents go out in order.
    vec![middle..range.end, range.start..middle]
}

impl Sink for ElasticsearchSink {
    fn kind(&self) -> &'static str {
        "elasticsearch"
    }

    fn write(&self, batch: Vec<SinkWrite>) -> Answer<'_, Vec<SinkOutcome>> {
        self.put(batch, None)
    }

    fn write_fresh(&self, batch: Vec<SinkWrite>, fresh: Freshness) -> Answer<'_, Vec<SinkOutcome>> {
        self.put(batch, Some(fresh))
    }

    fn get(&self, id: String) -> Answer<'_, Result<Option<Held>, Fault>> {
        let inner = self.inner.clone();
        Box::pin(clients::run(async move { inner.get(id).await }))
    }

    fn list(&self, after: Option<String>, max: usize) -> Answer<'_, Result<Vec<Held>, Fault>> {
        let inner = self.inner.clone();
        Box::pin(clients::run(async move { inner.list(after, max).await }))
    }
}

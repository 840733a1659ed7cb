//! A server's scanner, and the lease it lives under.
//!
//! A server forgets a scanner nobody has asked for as long as its lease says (a minute unless configured otherwise). Between
//! two pages a task renews it at a third of that time, so that two renewals may fail to be heard. The task ends with the page
//! that wants the scanner back, with its owner, at the first refusal, or after [`KEPT_MAX`]: a scanner costs the server
//! memory and the versions it may still show.

use crate::io::hbase::error::Error;
use crate::io::hbase::locator::Region;
use crate::io::hbase::node::Node;
use crate::io::hbase::pb;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long a scanner is kept open for a caller that does not come back.
const KEPT_MAX: Duration = Duration::from_secs(600);
/// HBase's own default, for a server that does not tell its lease.
const LEASE: Duration = Duration::from_secs(60);

/// An open scanner on a server.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) region: Arc<Region>,
    node: Arc<Node>,
    id: u64,
    /// The server counts the calls, so that none is heard twice.
    next_call_seq: u64,
    lease: Duration,
}

impl Held {
    /// One that was opened just now, with a lease of so many milliseconds.
    pub(super) fn opened(node: &Arc<Node>, region: &Arc<Region>, id: u64, lease_ms: Option<u32>) -> Self {
        let lease = lease_ms.filter(|ms| *ms > 0).map_or(LEASE, |ms| Duration::from_millis(ms.into()));
        Self { region: Arc::clone(region), node: Arc::clone(node), id, next_call_seq: 0, lease }
    }

    /// The same, one call later.
    pub(super) fn after_a_call(self) -> Self {
        Self { next_call_seq: self.next_call_seq + 1, ..self }
    }

    /// Asks for what is wished.
    pub(super) fn request(&self, wishes: pb::ScanRequest) -> pb::ScanRequest {
        pb::ScanRequest { scanner_id: Some(self.id), next_call_seq: Some(self.next_call_seq), ..wishes }
    }

    /// Tells the server that the scanner is done with; if it does not hear it, the lease ends.
    pub(super) async fn close(&self, timeout: Duration) {
        let request = pb::ScanRequest {
            scanner_id: Some(self.id),
            close_scanner: Some(true),
            number_of_rows: Some(0),
            ..Default::default()
        };
        if let Err(error) = self.node.call("Scan", &request, [], timeout).await {
            tracing::debug!(error = %error, "scanner was not closed");
        }
    }

    async fn renew(&self, timeout: Duration) -> Result<(), Error> {
        // Without a number in the sequence: a renewal whose answer got lost leaves the sequence as it was.
        let request =
            pb::ScanRequest { scanner_id: Some(self.id), renew: Some(true), number_of_rows: Some(0), ..Default::default() };
        self.node.call("Scan", &request, [], timeout).await.map(|_| ())
    }
}

/// A scanner between two pages.
#[derive(Debug)]
pub(super) struct Kept {
    wanted: oneshot::Sender<()>,
    keeping: JoinHandle<Option<Held>>,
}

impl Kept {
    /// Keeps it, until it is wanted back or this is dropped. To be called on a runtime, like every call.
    pub(super) fn new(held: Held, call_timeout: Duration) -> Self {
        let (wanted, asked) = oneshot::channel();
        Self { wanted, keeping: tokio::spawn(keep(held, call_timeout, asked)) }
    }

    /// The scanner; `None` when it is lost.
    pub(super) async fn back(self) -> Option<Held> {
        // A keeper that has ended says so by its answer.
        let _ = self.wanted.send(());
        self.keeping.await.ok().flatten()
    }
}

async fn keep(held: Held, call_timeout: Duration, mut asked: oneshot::Receiver<()>) -> Option<Held> {
    let until = Instant::now() + KEPT_MAX;
    let pause = held.lease / 3;
    loop {
        tokio::select! {
            biased;
            asked = &mut asked => {
                if asked.is_ok() {
                    return Some(held);
                }
                break;
            }
            () = tokio::time::sleep(pause) => {}
        }
        if Instant::now() >= until {
            break;
        }
        if let Err(error) = held.renew(call_timeout.min(held.lease)).await {
            tracing::debug!(error = %error, "scanner's lease was not renewed; the next page opens another");
            return None;
        }
    }
    held.close(call_timeout).await;
    None
}

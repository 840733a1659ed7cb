//! The office on memory parts: no node, no HTTP.

use super::*;
use crate::domain::change::Value;
use crate::domain::decode::BadReason;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Partition, RecordOffset, RowKey, RowVersion, Stamp};
use crate::domain::job::{JobKey, Lane, Load, Offer, Verdict};
use crate::domain::record::Record;
use crate::domain::row::{Cell, Keys, PartId, Tombstone, WideRow};
use crate::io::memory::{Call, MemoryDocuments, MemoryLedger, MemoryQueue, MemoryRowStore, NullSink};
use crate::ports::ledger::{DeadLetter, Ledger};
use crate::ports::queue::{Finish, JobQueue, JobState};
use crate::ports::rows::{RowStore, RowWrite};
use crate::ports::sink::{Body as SinkBody, Sink, SinkWrite};
use crate::settings;

const CONFIG: &str = r#"
version: 1
node: { id: office, data_dir: ./data }
sources: { shop: { jsonl: { path: records.jsonl } } }
rows:
  order:
    key: "{last4(order_no)}:{order_no}"
    root: trade.orders
    tables:
      trade.orders: { id: [id], columns: { id: long, status: long } }
lines:
  search:
    row: order
    document: { id: "{order_no}", fields: { status: trade.orders.status } }
    sink: { embedded: {} }
  asked_elsewhere:
    row: order
    document: { id: "{order_no}", fields: { status: trade.orders.status } }
    sink: { jsonl: { path: out.jsonl } }
  foreign:
    row: order
    document: { id: "{order_no}", fields: { status: trade.orders.status } }
    sink: { queue_only: {} }
"#;

const KEY: &str = "0007:7";

/// An office whose parts are at hand.
struct Parts {
    office: Office,
    rows: Arc<MemoryRowStore>,
    queue: MemoryQueue,
    ledger: Arc<MemoryLedger>,
    documents: Arc<MemoryDocuments>,
}

fn now() -> Millis {
    Millis(1_000_000)
}

fn parts() -> Parts {
    let settings = match settings::load_text("test.yaml", CONFIG, &|_| None) {
        Ok(loaded) => Arc::new(loaded.settings),
        Err(found) => panic!("{found:#?}"),
    };
    let rows = Arc::new(MemoryRowStore::new(Arc::clone(&settings.schema)));
    let queue = MemoryQueue::new(&settings.queue, Arc::new(now));
    let (ledger, documents) = (Arc::new(MemoryLedger::new()), Arc::new(MemoryDocuments::new()));
    let search: Arc<dyn Sink> = documents.clone();
    let sinks = HashMap::from([(Name::of("search"), search), (Name::of("asked_elsewhere"), Arc::new(NullSink) as Arc<dyn Sink>)]);
    let doors = Doors { rows: rows.clone(), queue: Arc::new(queue.clone()), ledger: ledger.clone(), sinks };
    Parts { office: Office::new(settings, doors, now), rows, queue, ledger, documents }
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

impl Parts {
    /// One order: its cells at a stamp, and a tombstone at another.
    async fn write(&self, stamp: i64, status: Option<&str>, tombstone: Option<i64>) {
        let mut change = WideRow { keys: Keys::from_iter([(Name::of("order_no"), Value::Text("7"))]), ..WideRow::default() };
        let part = change.part_mut(&PartId { table: Name::of("orders"), child: "7".into() });
        part.cells.push(Cell { name: Name::of("status"), stamp: Stamp(stamp), value: status });
        part.tombstone = tombstone.map(|at| Tombstone { stamp: Stamp(at), written: Millis(5), revoked: false });
        let row = RowId { kind: Name::of("order"), key: RowKey::new(KEY) };
        for outcome in self.rows.write(vec![RowWrite { row, change: Arc::new(change) }]).await {
            outcome.unwrap();
        }
    }

    async fn hold(&self, version: i64, document: Option<&str>) {
        let body = document.map_or(SinkBody::Delete, |json| SinkBody::Index(json.to_owned().into()));
        let write = SinkWrite { id: "7".into(), version: RowVersion(version), body, row: RowKey::new(KEY), types: Vec::new() };
        self.documents.write(vec![write]).await;
    }

    async fn offer(&self, line: &str) {
        let key = JobKey { line: Name::of(line), row: RowKey::new(KEY) };
        self.queue.offer(vec![Offer { key, lane: Lane(1), load: Load::default() }]).await.unwrap();
    }

    async fn bury(&self, line: &str) {
        self.offer(line).await;
        let taken = self.queue.take(Name::of(line), 1).await.unwrap().jobs.remove(0);
        let verdict = Verdict::Bury { reason: "no such field".to_owned() };
        self.queue.finish(vec![Finish { key: taken.key, lease: taken.lease, verdict, document: None }]).await.unwrap();
    }

    async fn line(&self, line: &str) -> LineWhy {
        self.office.why("order", KEY).await.unwrap().lines.into_iter().find(|l| l.line == line).unwrap()
    }
}

/// Goal: a row is told as it stands: M5's dead cells, null, versions as text. Method: one cell under a tombstone, then a null
/// above it.
#[test]
fn a_row_as_it_stands() {
    run(async {
        let parts = parts();
        let missing = parts.office.row("order", KEY).await.unwrap_err();
        assert!(missing.is(Code::NoSuchRow) && missing.detail.contains(KEY), "{missing}");
        parts.write(10, Some("1"), Some(12)).await;
        let row = parts.office.row("order", KEY).await.unwrap();
        assert!(!row.alive && !row.tables[0].alive && !row.tables[0].cells[0].alive, "{row:?}");
        assert_eq!(row.tables[0].tombstone.as_ref().map(|t| t.stamp.as_str()), Some("12"));
        assert_eq!((row.version.as_str(), row.version_kind.as_str()), ("24", "weight"));
        parts.write(20, None, None).await;
        let row = parts.office.row("order", KEY).await.unwrap();
        assert!(row.alive);
        let cell = CellAnswer { column: "status".into(), value: None, stamp: "20".into(), alive: true };
        assert_eq!((&row.tables[0].cells[0], row.version.as_str()), (&cell, "34"));
        assert_eq!(row.keys, [KeyColumn { column: "order_no".into(), value: Some("7".into()) }]);
        assert_eq!(row.documents[0].id.as_deref(), Some("7"));
        let json = serde_json::to_string(&row).unwrap();
        assert_eq!(serde_json::from_str::<RowAnswer>(&json).unwrap(), row, "the command line reads what the node writes");
    });
}

/// Goal: V5 and K1 in words: how a sink stands to its row. Method: a table of what the row is, what the sink holds, what the
/// queue holds, and the verdict.
#[test]
fn how_a_sink_stands_to_its_row() {
    // The row is alive at version 11, or dead at 11 + 13.
    let current = r#"{"status":1}"#;
    for (dead, held, job, wanted, says) in [
        (false, None, "", Agreement::Missing, "a rebuild"),
        (false, None, "waiting", Agreement::Missing, "a job is waiting"),
        (false, None, "buried", Agreement::Missing, "buried"),
        (false, Some((11, Some(current))), "", Agreement::UpToDate, "what the row says"),
        (false, Some((9, Some(current))), "", Agreement::UpToDate, "what the row says"),
        (false, Some((9, Some("{}"))), "waiting", Agreement::Behind, "a lower version"),
        (false, Some((11, Some("{}"))), "", Agreement::Behind, "the mapping changed"),
        (false, Some((12, Some(current))), "", Agreement::Ahead, "V5"),
        (true, None, "", Agreement::UpToDate, "holds nothing"),
        (true, Some((24, None)), "", Agreement::UpToDate, "what the row says"),
        (true, Some((11, Some(current))), "", Agreement::Behind, "a lower version"),
    ] {
        run(async {
            let parts = parts();
            parts.write(10, Some("1"), dead.then_some(12)).await;
            if let Some((version, document)) = held {
                parts.hold(version, document).await;
            }
            match job {
                "waiting" => parts.offer("search").await,
                "buried" => parts.bury("search").await,
                _ => {}
            }
            let line = parts.line("search").await;
            assert_eq!(line.agreement, wanted, "dead {dead}, held {held:?}: {}", line.says);
            assert!(line.says.contains(says), "dead {dead}, held {held:?}: `{}` lacks `{says}`", line.says);
            assert_eq!(line.wish.op, if dead { Op::Delete } else { Op::Index });
        });
    }
}

/// Goal: what cannot be asked is said, not guessed. Method: a sink that keeps nothing, a line without one, a value no document
/// takes, a sink that is away, a row never written.
#[test]
fn what_cannot_be_known() {
    run(async {
        let parts = parts();
        let never = parts.office.why("order", KEY).await.unwrap();
        assert!(!never.row.exists && never.lines.iter().all(|l| l.agreement == Agreement::Unknown), "{never:?}");
        parts.write(10, Some("1"), None).await;
        for (line, says) in [("asked_elsewhere", "cannot be asked"), ("foreign", "queue_only")] {
            let why = parts.line(line).await;
            assert_eq!(why.agreement, Agreement::Unknown);
            assert!(why.says.contains(says), "{line}: {}", why.says);
            assert!(parts.office.document(line, "7").await.unwrap_err().is(Code::CannotBeAsked));
            assert!(parts.office.documents(line, None, 5).await.unwrap_err().is(Code::CannotBeAsked));
        }
        parts.documents.script.fail_next(Call::Read, 1, &Fault::new(FaultKind::Unreachable, "sink", "away"));
        assert!(parts.line("search").await.says.contains("away"));
        parts.write(11, Some("abc"), None).await;
        let why = parts.line("search").await;
        assert_eq!((why.agreement, why.wish.op), (Agreement::Unknown, Op::Nothing));
        assert!(why.says.contains("`abc` is not a"), "{}", why.says);
        parts.rows.script.fail_next(Call::Read, 1, &Fault::new(FaultKind::Unreachable, "rows", "away"));
        assert!(parts.office.row("order", KEY).await.unwrap_err().is(Code::Unreachable));
    });
}

/// Goal: a wrong name is answered with the right ones. Method: a table of questions.
#[test]
fn wrong_names_are_helped() {
    run(async {
        let parts = parts();
        let office = &parts.office;
        let column = |name: &str| [(name.to_owned(), "7".to_owned())];
        for (problem, code, help) in [
            (office.row("orders", KEY).await.unwrap_err(), Code::NoSuchKind, "order"),
            (office.lanes(Some("nosuch")).await.unwrap_err(), Code::NoSuchLine, "search, asked_elsewhere, foreign"),
            (office.row_key("order", &column("colour")).unwrap_err(), Code::BadRequest, "order_no"),
            (office.row_key("order", &[]).unwrap_err(), Code::BadRequest, "order_no"),
            (office.dead_letter("a/0/0").await.unwrap_err(), Code::NoSuchDeadLetter, "topic/partition/offset"),
            (office.switch_skip_equal("search", true).unwrap_err(), Code::Conflict, "configuration"),
        ] {
            assert!(problem.is(code) && problem.help.contains(help), "{problem:?}");
            assert_eq!((problem.status, problem.title.as_str()), (code.status(), code.title()));
        }
        assert_eq!(office.row_key("order", &column("order_no")).unwrap().as_str(), KEY);
    });
}

/// Goal: jobs are told by state and released by it. Method: one waiting and one buried job.
#[test]
fn jobs_and_their_release() {
    run(async {
        let parts = parts();
        parts.offer("foreign").await;
        parts.bury("search").await;
        let office = &parts.office;
        let all = office.jobs(&WhichJobs::default(), 10).await.unwrap();
        assert_eq!(all.jobs.len(), 2);
        assert!(office.jobs(&WhichJobs::default(), 1).await.unwrap().more);
        let buried = WhichJobs { state: Some(JobState::Buried), ..WhichJobs::default() };
        let job = office.jobs(&buried, 10).await.unwrap().jobs.remove(0);
        assert_eq!((job.line.as_str(), job.reason.as_deref(), job.lane.as_str()), ("search", Some("no such field"), "normal"));
        assert_eq!(office.lines().await.unwrap().lines[0].buried, 1);
        assert_eq!(office.release(&WhichJobs::default()).await.unwrap().released, 0, "nothing is parked");
        assert_eq!(office.release(&buried).await.unwrap().released, 1);
        let lanes = office.lanes(Some("search")).await.unwrap().lanes;
        assert_eq!(lanes.iter().map(|l| (l.waiting, l.buried)).collect::<Vec<_>>(), [(0, 0), (1, 0), (0, 0)]);
        let active = WhichJobs { state: Some(JobState::Active), ..WhichJobs::default() };
        assert!(office.release(&active).await.unwrap_err().is(Code::BadRequest));
    });
}

/// Goal: lists go on where they say, and bytes come whole. Method: three documents and two letters, one of them no text.
#[test]
fn documents_and_letters_in_pages() {
    run(async {
        let parts = parts();
        for id in ["a", "b", "c"] {
            let body = SinkBody::Index("{\"price\":8.80}".into());
            let write = SinkWrite { id: id.into(), version: RowVersion(i64::MAX), body, row: RowKey::new(id), types: Vec::new() };
            parts.documents.write(vec![write]).await;
        }
        let first = parts.office.documents("search", None, 2).await.unwrap();
        assert_eq!((first.documents.len(), first.next.as_deref()), (2, Some("b")));
        let rest = parts.office.documents("search", Some("b"), 2).await.unwrap();
        assert_eq!((rest.documents[0].id.as_str(), rest.next), ("c", None));
        let json = serde_json::to_string(&rest.documents[0]).unwrap();
        assert!(json.contains(r#""version":"9223372036854775807""#) && json.contains("8.80"), "{json}");
        assert!(serde_json::from_str::<DocumentAnswer>(&json).unwrap().document.unwrap().get().contains("8.80"));

        for (offset, value) in [(1, &b"{broken"[..]), (2, &[0xff, 0xfe][..])] {
            let partition = Partition { topic: Name::of("t"), number: 0 };
            let value = Some(bytes::Bytes::copy_from_slice(value));
            let record = Record {
                partition,
                position: RecordOffset(offset),
                offset,
                timestamp: None,
                key: None,
                value,
                headers: Vec::new(),
            };
            let letter = DeadLetter {
                id: format!("t/0/{offset}"),
                source: "shop".into(),
                record,
                reason: BadReason::NotJson,
                detail: "it is no JSON".into(),
                first: Millis(1),
                last: Millis(2),
                deliveries: 1,
                replayed: false,
            };
            parts.ledger.keep_dead_letter(letter).await.unwrap();
        }
        let page = parts.office.dead_letters(None, 1).await.unwrap();
        assert_eq!((page.total, page.dead_letters[0].id.as_str(), page.next.as_deref()), (2, "t/0/1", Some("t/0/1")));
        let bodies = [("t/0/1", Body::Text("{broken".into())), ("t/0/2", Body::Base64("//4=".into()))];
        for (id, body) in bodies {
            assert_eq!(parts.office.dead_letter(id).await.unwrap().value, Some(body));
        }
    });
}

/// Goal: codes name one thing each. Method: every label once, every status an HTTP error.
#[test]
fn codes_are_distinct() {
    let mut labels: Vec<_> = Code::ALL.iter().map(|code| code.label()).collect();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), Code::ALL.len());
    assert!(Code::ALL.iter().all(|code| (400..600).contains(&code.status()) && !code.title().is_empty()));
}

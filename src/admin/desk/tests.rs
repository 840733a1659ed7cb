//! Runs on memory parts. The runtime has one thread, so a run moves only while its test waits.

use super::*;
use crate::domain::fault::FaultKind;
use crate::domain::ids::{RowId, RowKey, Stamp};
use crate::domain::row::{Cell, PartId, WideRow};
use crate::io::memory::{Call, MemoryLedger, MemoryQueue, MemoryRowStore};
use crate::ports::Doors;
use crate::ports::queue::{JobQueue, Which};
use crate::ports::rows::{RowStore, RowWrite};
use crate::settings;
use runs::RebuildWish;

const CONFIG: &str = r#"
version: 1
node: { id: desk, data_dir: ./data }
sources: { shop: { jsonl: { path: records.jsonl } } }
rows:
  order: { key: "{order_no}", tables: { trade.orders: { id: [id], columns: { status: long } } } }
lines:
  search: { row: order, document: { id: "{order_no}", fields: { status: trade.orders.status } }, sink: { queue_only: {} } }
"#;

/// Rows of every office here.
const ROWS: u64 = 6;

/// Rows per second that give a run several pages.
const SLOW: f64 = 10.0;

struct Parts {
    office: Office,
    rows: Arc<MemoryRowStore>,
    queue: MemoryQueue,
}

impl Parts {
    async fn new() -> Self {
        let settings = match settings::load_text("test.yaml", CONFIG, &|_| None) {
            Ok(loaded) => Arc::new(loaded.settings),
            Err(found) => panic!("{found:#?}"),
        };
        let now = || Millis(1_000_000);
        let rows = Arc::new(MemoryRowStore::new(Arc::clone(&settings.schema)));
        let queue = MemoryQueue::new(&settings.queue, Arc::new(now));
        for order in 0..ROWS {
            let mut change = WideRow::default();
            let part = change.part_mut(&PartId { table: Name::of("orders"), child: "1".into() });
            part.cells.push(Cell { name: Name::of("status"), stamp: Stamp(1), value: Some("1") });
            let row = RowId { kind: Name::of("order"), key: RowKey::new(&format!("n{order}")) };
            rows.write(vec![RowWrite { row, change: Arc::new(change) }]).await.remove(0).unwrap();
        }
        let doors = Doors {
            rows: rows.clone(),
            queue: Arc::new(queue.clone()),
            ledger: Arc::new(MemoryLedger::new()),
            sinks: Default::default(),
        };
        Self { office: Office::new(settings, doors, now), rows, queue }
    }

    fn begin(&self, desk: &Desk, rate: Option<f64>) -> Result<RunAnswer, Problem> {
        let plan = self.office.rebuild_plan("search", RebuildWish { rate, ..RebuildWish::default() })?;
        desk.rebuild(&self.office, plan, "a test")
    }

    async fn offered(&self) -> usize {
        self.queue.list(Which::default(), 100).await.unwrap().len()
    }
}

/// Looks again until the run is seen so.
async fn seen(desk: &Desk, id: &str, so: impl Fn(&RunAnswer) -> bool) -> RunAnswer {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    for _ in 0..10_000 {
        looks.tick().await;
        let answer = desk.run(id).unwrap();
        if so(&answer) {
            return answer;
        }
    }
    panic!("waited in vain: {:?}", desk.run(id));
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Goal: a run does what it says, once at a time per line. Method: a slow rebuild, a second one beside it, then to its end.
#[test]
fn one_rebuild_of_a_line_at_a_time() {
    run(async {
        let (parts, desk) = (Parts::new().await, Desk::default());
        let begun = parts.begin(&desk, Some(SLOW)).unwrap();
        assert_eq!((begun.state.as_str(), begun.rows_about), ("running", Some(ROWS)));
        let refused = parts.begin(&desk, None).unwrap_err();
        assert!(refused.is(Code::Conflict) && refused.detail.contains(&begun.id), "{refused}");
        let ended = seen(&desk, &begun.id, |r| r.ended.is_some()).await;
        assert_eq!((ended.state.as_str(), ended.rows, ended.done, ended.at), ("done", ROWS, ROWS, None));
        assert_eq!(parts.offered().await as u64, ROWS);
        assert!(parts.begin(&desk, None).is_ok(), "the line is free again");
    });
}

/// Goal: a pause holds. Method: pause before the run's first step, let it have many turns, then let it go on.
#[test]
fn a_paused_run_rests() {
    run(async {
        let (parts, desk) = (Parts::new().await, Desk::default());
        let id = parts.begin(&desk, None).unwrap().id;
        assert_eq!(desk.change(&id, RunChange::Pause).unwrap().state, "paused");
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let rested = desk.run(&id).unwrap();
        assert_eq!((rested.state.as_str(), rested.rows), ("paused", 0));
        desk.change(&id, RunChange::Resume).unwrap();
        assert_eq!(seen(&desk, &id, |r| r.ended.is_some()).await.rows, ROWS);
    });
}

/// Goal: a cancel ends a run, and the next one goes on where it was left. Method: cancel after the first row, begin again.
#[test]
fn cancelled_and_gone_on_with() {
    run(async {
        let (parts, desk) = (Parts::new().await, Desk::default());
        let id = parts.begin(&desk, Some(SLOW)).unwrap().id;
        seen(&desk, &id, |r| r.rows >= 1).await;
        desk.change(&id, RunChange::Cancel).unwrap();
        let cancelled = seen(&desk, &id, |r| r.ended.is_some()).await;
        assert_eq!(cancelled.state, "cancelled");
        assert!(desk.change(&id, RunChange::Resume).unwrap_err().is(Code::Conflict));
        let left = desk.runs(&parts.office).await.unwrap().left;
        assert_eq!((left.len(), left[0].line.as_str()), (1, "search"));
        let again = parts.begin(&desk, None).unwrap().id;
        let ended = seen(&desk, &again, |r| r.ended.is_some()).await;
        assert_eq!(ended.rows + cancelled.rows, ROWS, "no row twice, none left out");
        assert!(desk.runs(&parts.office).await.unwrap().left.is_empty());
    });
}

/// Goal: a store that is away makes a run wait, one that refuses ends it. Method: scripted faults of both kinds.
#[test]
fn waits_for_what_comes_back() {
    run(async {
        let (parts, desk) = (Parts::new().await, Desk::default());
        parts.rows.script.fail_next(Call::Read, 1, &Fault::new(FaultKind::Unreachable, "rows", "away"));
        let id = parts.begin(&desk, None).unwrap().id;
        let waiting = seen(&desk, &id, |r| r.state == "waiting").await;
        assert!(waiting.cause.unwrap().contains("away"));
        let ended = seen(&desk, &id, |r| r.ended.is_some()).await;
        assert_eq!((ended.state.as_str(), ended.rows), ("done", ROWS));
        parts.rows.script.fail_next(Call::Read, 1, &Fault::new(FaultKind::Corrupt, "rows", "damaged"));
        let id = desk.purge(&parts.office, "order", true, "a test").unwrap().id;
        let ended = seen(&desk, &id, |r| r.ended.is_some()).await;
        assert!(ended.state == "failed" && ended.cause.unwrap().contains("damaged"));
    });
}

/// Goal: the names of notes read back. Method: a table.
#[test]
fn what_was_left_is_named() {
    for (name, line, from, to) in [
        ("rebuild/search//", "search", None, None),
        ("rebuild/search/a/b", "search", Some("a"), Some("b")),
        ("rebuild/search//b", "search", None, Some("b")),
    ] {
        let left = left_run(name, "k").unwrap();
        assert_eq!((left.line.as_str(), left.from.as_deref(), left.to.as_deref(), left.at.as_str()), (line, from, to, "k"));
    }
    assert_eq!(left_run("commit/x", "k"), None);
}

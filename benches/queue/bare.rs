//! The floor: what the commands of asynq's form cost alone, in scripts of the same sizes, without our records and without
//! any check. No queue in this form can cost Redis less than about this.

use super::{IN_FLIGHT, TAKEN_PER_BATCH};
use redis::aio::MultiplexedConnection;
use std::sync::atomic::{AtomicUsize, Ordering};

/// As many offers as the queue puts into one call.
const OFFERS_PER_CALL: usize = 200;
const QUEUES: [&str; 3] = ["bare_urgent", "bare_normal", "bare_bulk"];

pub struct Bare {
    connection: MultiplexedConnection,
    script: String,
}

/// Queue's number, and ids.
type Lot = (usize, Vec<String>);

impl Bare {
    pub async fn new(mut connection: MultiplexedConnection) -> Self {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(include_str!("bare.lua"));
        Self { script: load.query_async(&mut connection).await.unwrap(), connection }
    }

    fn call(&self, what: &str, most: usize) -> redis::Cmd {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.script).arg(QUEUES.len());
        QUEUES.iter().for_each(|queue| _ = call.arg(format!("asynq:{{{queue}}}:")));
        call.arg(what).arg(most);
        call
    }

    pub async fn offer(&self, jobs: usize) {
        let send = async |part: usize| {
            for from in (0..jobs).step_by(OFFERS_PER_CALL).skip(part).step_by(IN_FLIGHT) {
                let mut call = self.call("offer", 0);
                for (number, queue) in QUEUES.iter().enumerate() {
                    let own = (from..(from + OFFERS_PER_CALL).min(jobs)).filter(|i| i % QUEUES.len() == number);
                    call.arg(own.clone().count());
                    own.for_each(|i| _ = call.arg(id(i)).arg(message(i, queue)));
                }
                call.exec_async(&mut self.connection.clone()).await.unwrap();
            }
        };
        futures_util::future::join_all((0..IN_FLIGHT).map(send)).await;
    }

    pub async fn finish(&self, jobs: usize) {
        let done = AtomicUsize::new(0);
        let work = async |_: usize| {
            let mut connection = self.connection.clone();
            loop {
                let lots: Vec<Lot> = self.call("take", TAKEN_PER_BATCH).query_async(&mut connection).await.unwrap();
                if lots.is_empty() {
                    return;
                }
                let mut call = self.call("finish", 0);
                for queue in 1..=QUEUES.len() {
                    let own: Vec<&String> = lots.iter().filter(|lot| lot.0 == queue).flat_map(|lot| &lot.1).collect();
                    call.arg(own.len()).arg(&own);
                    done.fetch_add(own.len(), Ordering::Relaxed);
                }
                call.exec_async(&mut connection).await.unwrap();
            }
        };
        futures_util::future::join_all((0..IN_FLIGHT).map(work)).await;
        assert_eq!(done.into_inner(), jobs, "each task ended once");
        for queue in QUEUES {
            let kept = ["pending", "active", "lease"].map(|what| format!("asynq:{{{queue}}}:{what}"));
            let kept: usize = redis::cmd("EXISTS").arg(&kept).query_async(&mut self.connection.clone()).await.unwrap();
            assert_eq!(kept, 0, "{queue} is empty");
        }
    }
}

fn id(i: usize) -> String {
    format!("{:04}~3A{i:012}~0", i % 10_000)
}

/// A task's message of the fields and sizes that ours have.
fn message(i: usize, queue: &str) -> Vec<u8> {
    let payload = format!(r#"{{"line":"bench","row":"{:04}:{i:012}"}}"#, i % 10_000);
    let mut out = Vec::with_capacity(128);
    for (tag, text) in [(10, "bench"), (18, &payload), (26, &id(i)), (34, queue)] {
        out.extend([tag, text.len() as u8]);
        out.extend_from_slice(text.as_bytes());
    }
    out.extend([40, 25, 64, 136, 14]);
    out
}

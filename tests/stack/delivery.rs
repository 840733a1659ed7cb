//! Goal: what holds of jobs on the queues without a server holds on Redis: J2, J3, K1, K5; 2.12 cases 8 and 9. Method: the
//! same bodies, with jobs on the shared Redis.

#[allow(dead_code, reason = "other bodies use the rest of it")]
#[path = "../it/world/mod.rs"]
mod world;

#[path = "../it/delivery.rs"]
mod bodies;

/// Jobs on Redis under names of their own.
mod queues {
    use crate::servers::{self, Kind};
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;
    use widerow::io::asynq::{AsynqQueue, Setup};
    use widerow::io::embedded::{EmbeddedStore, overflow_shelf};
    use widerow::io::redis::Redis;
    use widerow::ports::queue::JobQueue;
    use widerow::settings::{AsynqSettings, RedisAddress, RedisMode, Settings};

    pub type Make = fn(&Settings, &Path) -> Arc<dyn JobQueue>;

    pub fn redis(settings: &Settings, folder: &Path) -> Arc<dyn JobQueue> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let redis = RedisAddress {
            mode: RedisMode::Single,
            hosts: vec![servers::shared(Kind::Redis).address()],
            database: 0,
            username: None,
            password: None,
            tls: None,
            timeout: Duration::from_secs(20),
        };
        let queue = format!("delivery{}-{{line}}_{{lane}}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let setup = Setup {
            redis: Redis::new(&redis).unwrap(),
            asynq: AsynqSettings { redis, queue, allow_eviction: false },
            queue: settings.queue.clone(),
            lines: settings.lines.iter().map(|line| line.line.name).collect(),
            overflow: overflow_shelf(EmbeddedStore::open(&folder.join("data")).unwrap(), &settings.queue),
            own: None,
            clock: None,
        };
        Arc::new(AsynqQueue::new(setup).unwrap())
    }

    macro_rules! on_queues {
        ($($body:ident),* $(,)?) => {
            mod on_redis {
                $(#[test] fn $body() { super::$body($crate::delivery::queues::redis); })*
            }
        };
    }
    pub(crate) use on_queues;
}

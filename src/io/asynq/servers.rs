//! This process as asynq's command line and web page show it: one server entry, one worker entry per job in hand.

use super::keys::{self, Names};
use super::message::{ServerInfo, Timestamp, WorkerInfo, payload};
use super::verdicts::End;
use crate::domain::fault::Fault;
use crate::domain::ids::{Millis, Name};
use crate::domain::job::{JobKey, Lane, Lease};
use crate::io::jobbook::wait::{Clock, wall_clock};
use crate::io::redis::Redis;
use crate::ports::queue::Taken;
use crate::settings::Queue;
use prost::Message;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often the entry is renewed, and how long it counts without: asynq's own numbers.
const EVERY: Duration = Duration::from_secs(5);
const LIFE_S: i64 = 10;
/// Jobs in hand that are shown at most.
const SHOWN_MAX: usize = 1_000;

/// The server's own entry, and one per job in hand.
type Entry = (Vec<u8>, Vec<(String, Vec<u8>)>);

pub(super) struct ServerEntry {
    host: String,
    pid: u32,
    id: String,
    strict: bool,
    weights: Vec<i32>,
    queues: HashMap<String, i32>,
    /// asynq's tools judge entries by their own clocks, so the wall clock counts here.
    wall: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    beat: Option<Instant>,
    started: Option<Millis>,
    held: HashMap<(JobKey, Lease), Held>,
    most: usize,
}

struct Held {
    queue: String,
    since: Millis,
}

/// Jobs in hand by id, each as asynq's WorkerInfo.
type Workers = Vec<(String, Vec<u8>)>;

impl ServerEntry {
    pub(super) fn new(chance: u64, queue: &Queue, names: &Names, lines: &[Name]) -> Self {
        let weights: Vec<i32> = queue.lanes.iter().map(|(_, weight)| i32::try_from(*weight).unwrap_or(i32::MAX)).collect();
        let lanes = |line: &Name| {
            let line = *line;
            weights.iter().enumerate().map(move |(at, weight)| (names.queue(line, Lane(at as u8)), *weight)).collect::<Vec<_>>()
        };
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            host: keys::escaped(&host),
            pid: std::process::id(),
            // As Go's: a UUID of version 4.
            id: format!(
                "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
                chance >> 32,
                chance >> 16 & 0xffff,
                chance >> 4 & 0xfff,
                chance & 0xfff,
                chance & 0xffff_ffff_ffff
            ),
            strict: queue.strict,
            queues: lines.iter().flat_map(lanes).collect(),
            weights,
            wall: wall_clock(),
            state: Mutex::default(),
        }
    }

    pub(super) fn started(&self, names: &Names, jobs: &[Taken]) {
        let now = (self.wall)();
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        for job in jobs {
            let held = Held { queue: names.queue(job.key.line, job.lane), since: now };
            state.held.insert((job.key.clone(), job.lease), held);
        }
        state.most = state.most.max(state.held.len());
    }

    pub(super) fn ended(&self, ends: &[End]) {
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        for (key, lease, ..) in ends {
            state.held.remove(&(key.clone(), *lease));
        }
    }

    /// Renews the entry when it is time; only processes that worked are shown.
    pub(super) async fn beat(&self, redis: &Redis) -> Result<(), Fault> {
        let now = (self.wall)();
        let Some((info, workers)) = self.entry(now) else { return Ok(()) };
        let (server_key, workers_key) =
            (keys::server(&self.host, self.pid, &self.id), keys::workers(&self.host, self.pid, &self.id));
        let ends = now.0 / 1_000 + LIFE_S;
        for (set, key) in [(keys::SERVERS, &server_key), (keys::WORKERS, &workers_key)] {
            let mut add = redis::cmd("ZADD");
            add.arg(set).arg(ends).arg(key);
            redis.call::<i64>(add).await?;
        }
        let mut pipe = redis::pipe();
        // Both keys carry the same braces, so this is one step on Cluster too.
        pipe.atomic().set_ex(&server_key, info, LIFE_S as u64).ignore().del(&workers_key).ignore();
        if !workers.is_empty() {
            pipe.hset_multiple(&workers_key, &workers).ignore().expire(&workers_key, LIFE_S).ignore();
        }
        redis.pipe::<()>(pipe).await
    }

    /// Fields of both entries, when it is time.
    fn entry(&self, now: Millis) -> Option<Entry> {
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        if state.most == 0 || state.beat.is_some_and(|beat| beat.elapsed() < EVERY) {
            return None;
        }
        state.beat = Some(Instant::now());
        let started = *state.started.get_or_insert(now);
        let stamp =
            |at: Millis| Some(Timestamp { seconds: at.0.div_euclid(1_000), nanos: (at.0.rem_euclid(1_000) * 1_000_000) as i32 });
        let pid = i32::try_from(self.pid).unwrap_or(i32::MAX);
        let workers: Workers = state
            .held
            .iter()
            .take(SHOWN_MAX)
            .map(|((key, _), held)| {
                let info = WorkerInfo {
                    host: self.host.clone(),
                    pid,
                    server_id: self.id.clone(),
                    task_id: keys::base(&key.row),
                    task_type: key.line.as_str().to_owned(),
                    task_payload: payload(key.line.as_str(), key.row.as_str()),
                    queue: held.queue.clone(),
                    start_time: stamp(held.since),
                    deadline: stamp(Millis(held.since.0 + super::message::TIMEOUT_S * 1_000)),
                };
                (info.task_id.clone(), info.encode_to_vec())
            })
            .collect();
        let mut queues = self.queues.clone();
        let lanes = self.weights.iter().max().copied().unwrap_or(1);
        queues.extend(
            state.held.values().map(|held| (held.queue.clone(), lanes)).filter(|(queue, _)| !self.queues.contains_key(queue)),
        );
        let info = ServerInfo {
            host: self.host.clone(),
            pid,
            server_id: self.id.clone(),
            concurrency: i32::try_from(state.most).unwrap_or(i32::MAX),
            queues,
            strict_priority: self.strict,
            status: "active".into(),
            start_time: stamp(started),
            active_worker_count: i32::try_from(state.held.len()).unwrap_or(i32::MAX),
        };
        Some((info.encode_to_vec(), workers))
    }
}

//! The scripts, each behind the part they share, and what calls them: one line's keys in one slot.

use super::keys::{self, Names};
use crate::domain::fault::Fault;
use crate::domain::ids::{Millis, Name};
use crate::domain::job::Lane;
use crate::io::jobbook::wait::Clock;
use crate::io::redis::{Redis, Script};
use redis::FromRedisValue;

pub(super) struct Scripts {
    pub offer: Script,
    pub take: Script,
    pub finish: Script,
    pub extend: Script,
    pub tend: Script,
    pub recall: Script,
    pub release: Script,
    pub forget: Script,
    pub counts: Script,
    pub list: Script,
    pub foreign: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let script = |body: &str| Script::new(&[include_str!("scripts/common.lua"), body].concat());
        Self {
            offer: script(include_str!("scripts/offer.lua")),
            take: script(include_str!("scripts/take.lua")),
            finish: script(include_str!("scripts/finish.lua")),
            extend: script(include_str!("scripts/extend.lua")),
            tend: script(include_str!("scripts/tend.lua")),
            recall: script(include_str!("scripts/recall.lua")),
            release: script(include_str!("scripts/release.lua")),
            forget: script(include_str!("scripts/forget.lua")),
            counts: script(include_str!("scripts/counts.lua")),
            list: script(include_str!("scripts/list.lua")),
            foreign: script(include_str!("scripts/foreign.lua")),
        }
    }
}

/// The lanes of a line that one script can reach together: all of them, or one on Cluster (J4).
#[derive(Clone)]
pub(super) struct Scope {
    pub line: Name,
    pub lanes: Vec<Lane>,
    /// Names the keys that are ours.
    tag: String,
}

impl Scope {
    pub(super) fn of(line: Name, names: &Names, cluster: bool) -> Vec<Self> {
        let lanes = (0..names.lanes()).map(|lane| Lane(lane as u8));
        if cluster {
            lanes.map(|lane| Self { line, lanes: vec![lane], tag: names.queue(line, lane) }).collect()
        } else {
            vec![Self { line, lanes: lanes.collect(), tag: names.tag(line) }]
        }
    }

    /// A lane's number in scripts, which count from 1.
    pub(super) fn number(&self, lane: Lane) -> Option<usize> {
        self.lanes.iter().position(|l| *l == lane).map(|at| at + 1)
    }

    pub(super) fn lane(&self, number: usize) -> Lane {
        number.checked_sub(1).and_then(|at| self.lanes.get(at)).copied().unwrap_or_default()
    }

    pub(super) fn documents(&self) -> String {
        keys::documents(&self.tag)
    }

    /// Calls a script with what `common.lua` wants in front.
    pub(super) async fn call<T: FromRedisValue + Send + 'static>(
        &self,
        redis: &Redis,
        names: &Names,
        clock: Option<&Clock>,
        script: &Script,
        args: Vec<Vec<u8>>,
    ) -> Result<T, Fault> {
        let mut keys = vec![keys::book(&self.tag).into_bytes()];
        keys.extend(self.lanes.iter().map(|lane| keys::prefix(&names.queue(self.line, *lane)).into_bytes()));
        let now = clock.map_or_else(String::new, |clock| {
            let Millis(now) = clock();
            now.to_string()
        });
        let lanes = self.lanes.iter().map(|lane| names.lane(*lane)).collect::<Vec<_>>().join(",");
        let mut all = Vec::with_capacity(args.len() + 2);
        all.extend([now.into_bytes(), lanes.into_bytes()]);
        all.extend(args);
        redis.script(script, &keys, &all).await
    }
}

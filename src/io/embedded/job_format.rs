//! One job key's entry as one packed value.
//!
//! ```text
//! 1, sequence, flags (1 waits, 2 runs)
//! waiting: lane, attempts, load, hold        hold: 0 ready | 1 until, time | 2 parked | 3 spilled | 4 buried, reason
//! active:  lane, attempts, load, lease, until
//! load:    first offered, [oldest], [newest], flags (1 must write, 2 run late), n × type
//! ```
//!
//! Lanes are written by name, because their order is the configuration's and may change between two runs.

use super::codec::{Malformed, Packer, Unpacker};
use crate::domain::ids::{Millis, Name};
use crate::domain::job::{Active, Hold, KeyState, Lane, Lease, Load, Waiting};
use crate::io::jobbook::Entry;

const VERSION: u8 = 1;
const WAITS: u8 = 1;
const RUNS: u8 = 2;
const MUST_WRITE: u8 = 1;
const RUN_LATE: u8 = 2;

/// The configured lanes, highest first.
#[derive(Clone)]
pub(super) struct LaneNames {
    pub(super) names: Vec<Name>,
    pub(super) default: Lane,
}

impl LaneNames {
    pub(super) fn name(&self, lane: Lane) -> &'static str {
        self.names.get(usize::from(lane.0)).map_or("", |name| name.as_str())
    }

    fn lane(&self, name: &str) -> Option<Lane> {
        self.names.iter().position(|n| n.as_str() == name).map(|at| Lane(at as u8))
    }
}

/// What was read, and the waiting job's lane as it was stored when that one is no longer configured.
pub(super) struct Unpacked {
    pub(super) entry: Entry,
    pub(super) unknown_lane: Option<String>,
}

pub(super) fn pack(entry: &Entry, lanes: &LaneNames) -> Vec<u8> {
    let mut out = Packer::with_capacity(64);
    out.byte(VERSION);
    out.varint(entry.seq);
    let KeyState { waiting, active } = &entry.state;
    out.byte(if waiting.is_some() { WAITS } else { 0 } | if active.is_some() { RUNS } else { 0 });
    if let Some(waiting) = waiting {
        pack_job(waiting.lane, waiting.attempts, &waiting.load, lanes, &mut out);
        match &waiting.hold {
            Hold::Ready => out.byte(0),
            Hold::Until(at) => {
                out.byte(1);
                out.signed(at.0);
            }
            Hold::Parked => out.byte(2),
            Hold::Spilled => out.byte(3),
            Hold::Buried { reason } => {
                out.byte(4);
                out.text(reason);
            }
        }
    }
    if let Some(active) = active {
        pack_job(active.lane, active.attempts, &active.load, lanes, &mut out);
        out.varint(active.lease.0);
        out.signed(active.until.0);
    }
    out.0
}

fn pack_job(lane: Lane, attempts: u32, load: &Load, lanes: &LaneNames, out: &mut Packer) {
    out.text(lanes.name(lane));
    out.varint(u64::from(attempts));
    out.signed(load.first_offered.0);
    out.optional_signed(load.oldest.map(|t| t.0));
    out.optional_signed(load.newest.map(|t| t.0));
    out.byte(if load.must_write { MUST_WRITE } else { 0 } | if load.run_late { RUN_LATE } else { 0 });
    out.varint(load.types.len() as u64);
    load.types.iter().for_each(|name| out.text(name.as_str()));
}

/// Reads a packed entry. A lane that is no longer configured becomes the default lane.
///
/// # Errors
/// [`Malformed`] for bytes that [`pack`] did not write.
pub(super) fn unpack(bytes: &[u8], lanes: &LaneNames) -> Result<Unpacked, Malformed> {
    let mut from = Unpacker::new(bytes);
    if from.byte()? != VERSION {
        return Err(Malformed("the job has a format we do not know"));
    }
    let seq = from.varint()?;
    let flags = from.byte()?;
    let (mut state, mut unknown_lane) = (KeyState::default(), None);
    if flags & WAITS != 0 {
        let (name, attempts, load) = unpack_job(&mut from)?;
        let hold = match from.byte()? {
            0 => Hold::Ready,
            1 => Hold::Until(Millis(from.signed()?)),
            2 => Hold::Parked,
            3 => Hold::Spilled,
            4 => Hold::Buried { reason: from.text()?.to_owned() },
            _ => return Err(Malformed("the job is held for an unknown cause")),
        };
        let lane = lanes.lane(name);
        if lane.is_none() {
            unknown_lane = Some(name.to_owned());
        }
        state.waiting = Some(Waiting { lane: lane.unwrap_or(lanes.default), load, attempts, hold });
    }
    if flags & RUNS != 0 {
        let (name, attempts, load) = unpack_job(&mut from)?;
        let (lease, until) = (Lease(from.varint()?), Millis(from.signed()?));
        state.active = Some(Active { lane: lanes.lane(name).unwrap_or(lanes.default), load, attempts, lease, until });
    }
    from.end()?;
    Ok(Unpacked { entry: Entry { state, seq }, unknown_lane })
}

fn unpack_job<'a>(from: &mut Unpacker<'a>) -> Result<(&'a str, u32, Load), Malformed> {
    let lane = from.text()?;
    let attempts = u32::try_from(from.varint()?).map_err(|_| Malformed("a count of tries is too large"))?;
    let mut load = Load { first_offered: Millis(from.signed()?), ..Load::default() };
    load.oldest = from.optional_signed()?.map(Millis);
    load.newest = from.optional_signed()?.map(Millis);
    let flags = from.byte()?;
    load.must_write = flags & MUST_WRITE != 0;
    load.run_late = flags & RUN_LATE != 0;
    for _ in 0..from.count()? {
        load.types.push(Name::intern(from.text()?).map_err(|_| Malformed("a change type's name is too long"))?);
    }
    Ok((lane, attempts, load))
}

//! A job's load as it lies in the line's book (`scripts/common.lua` says the whole record).

use super::keys::{escaped, unescaped};
use crate::domain::ids::{Millis, Name};
use crate::domain::job::Load;
use std::fmt::Write;

const MUST_WRITE: u8 = 1;
const RUN_LATE: u8 = 2;

/// `attempts,first,oldest,newest,flags,types`. `first` 0 lets the queue set its own time.
pub(super) fn pack(attempts: u32, load: &Load) -> String {
    let mut out = format!("{attempts},{},", load.first_offered.0.max(0));
    for time in [load.oldest, load.newest] {
        if let Some(time) = time {
            // Writing to a text cannot fail.
            let _ = write!(out, "{}", time.0);
        }
        out.push(',');
    }
    let flags = u8::from(load.must_write) * MUST_WRITE + u8::from(load.run_late) * RUN_LATE;
    let _ = write!(out, "{flags},{}", types(load));
    out
}

pub(super) fn types(load: &Load) -> String {
    load.types.iter().map(|name| escaped(name.as_str())).collect::<Vec<_>>().join("+")
}

/// Tries and load; `None` when it is not one of ours.
pub(super) fn unpack(text: &str) -> Option<(u32, Load)> {
    let mut parts = text.splitn(6, ',');
    let attempts = parts.next()?.parse().ok()?;
    let first_offered = Millis(parts.next()?.parse().ok()?);
    let mut time = || match parts.next()? {
        "" => Some(None),
        text => text.parse().ok().map(|ms| Some(Millis(ms))),
    };
    let (oldest, newest) = (time()?, time()?);
    let flags: u8 = parts.next()?.parse().ok()?;
    let types = parts.next()?.split('+').filter(|name| !name.is_empty());
    let types = types.map(|name| Name::intern(&unescaped(name)?).ok()).collect::<Option<_>>()?;
    let (must_write, run_late) = (flags & MUST_WRITE != 0, flags & RUN_LATE != 0);
    Some((attempts, Load { first_offered, oldest, newest, logged: None, types, must_write, run_late }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Goal: a load is read as it was written. Method: any load there and back.
        #[test]
        fn loads_come_back(
            attempts: u32, first in 0..i64::MAX, oldest: Option<i64>, newest: Option<i64>, must_write: bool, run_late: bool,
            types in prop::collection::vec(prop::sample::select(vec!["price", "a,b", "x+y", "订"]), 0..3),
        ) {
            let types = types.into_iter().map(Name::of).collect();
            let (oldest, newest) = (oldest.map(Millis), newest.map(Millis));
            let load = Load { first_offered: Millis(first), oldest, newest, logged: None, types, must_write, run_late };
            prop_assert_eq!(unpack(&pack(attempts, &load)), Some((attempts, load)));
        }
    }

    #[test]
    fn other_text_is_no_load() {
        for text in ["", "1,2,3", "x,1,,,0,", "1,1,y,,0,", "1,1,,,0"] {
            assert_eq!(unpack(text), None, "{text}");
        }
    }
}

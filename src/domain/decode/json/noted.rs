//! The members of the objects that are a body's own members, noted while the body is read, so that nobody scans them again.
//!
//! A log repeats itself: a row after a change most of the row before it, a record the names of the record before. What is
//! foretold and stands there in the same bytes is passed by comparing it. Knows nothing of what members mean.

use super::scan::{NotJson, Scanner};
use super::{Json, members, name};
use crate::domain::decode::BadRecord;
use std::borrow::Cow;
use std::ops::Range;

/// Where one member lies in the body.
#[derive(Clone, Copy)]
pub(in crate::domain::decode) struct Member {
    /// Its name, with its quotes.
    from: usize,
    name_end: usize,
    value: usize,
    value_end: usize,
    name_escaped: bool,
    /// Its value is a string in which something is escaped.
    escaped: bool,
}

impl Member {
    /// # Errors
    /// A name whose escapes are no Unicode text.
    #[inline]
    pub(in crate::domain::decode) fn name<'a>(&self, body: &'a str) -> Result<Cow<'a, str>, BadRecord> {
        name(&body[self.from..self.name_end], self.name_escaped)
    }

    /// The value's own text.
    #[inline]
    pub(in crate::domain::decode) fn raw<'a>(&self, body: &'a str) -> &'a str {
        &body[self.value..self.value_end]
    }

    /// # Errors
    /// As [`Json::of`].
    #[inline]
    pub(in crate::domain::decode) fn json<'a>(&self, body: &'a str) -> Result<Json<'a>, BadRecord> {
        Json::of_known(self.raw(body), self.escaped)
    }

    /// Whether both are one and the same text of the body.
    #[inline]
    pub(in crate::domain::decode) fn is(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// What was noted of one body. Its room, and the names it saw, serve the next one.
#[derive(Default)]
pub(in crate::domain::decode) struct Noted {
    members: Vec<Member>,
    /// Where an object begins, and which of the members are its.
    objects: Vec<(usize, Range<usize>)>,
    own: Foretold,
    /// By the object's place among the body's members.
    inner: Vec<Foretold>,
}

/// Members whose names are foretold, and of how many of a body's members.
const FORETOLD_MAX: usize = 256;
const OBJECTS_MAX: usize = 16;
/// Longer names are not worth keeping.
const NAME_BYTES_MAX: usize = 64;
/// Room for members that is kept for the next body.
const MEMBERS_KEPT_MAX: usize = 1024;

/// The names that one object had in the body before, in its order, each with its quotes and colon.
#[derive(Default)]
struct Foretold(Vec<String>);

impl Foretold {
    /// Passes the name of the member at this place and the colon behind it: where the name lies, and whether it is escaped.
    #[inline]
    fn pass(&mut self, at: usize, scanner: &mut Scanner<'_>) -> Result<(Range<usize>, bool), NotJson> {
        let from = scanner.at();
        if let Some(told) = self.0.get(at)
            && scanner.passes_text(told)
        {
            return Ok((from..scanner.at() - 1, false));
        }
        self.learn(at, scanner)
    }

    fn learn(&mut self, at: usize, scanner: &mut Scanner<'_>) -> Result<(Range<usize>, bool), NotJson> {
        let (quoted, escaped) = scanner.key()?;
        let from = scanner.start_of(quoted);
        let told = scanner.passed(from);
        let plain = !escaped && told.len() == quoted.len() + 1;
        if plain && at < FORETOLD_MAX && told.len() <= NAME_BYTES_MAX {
            if self.0.len() == at {
                self.0.push(String::new());
            }
            if let Some(held) = self.0.get_mut(at) {
                held.clear();
                held.push_str(told);
            }
        }
        Ok((from..from + quoted.len(), escaped))
    }
}

impl Noted {
    /// Reads a body, calling `each` with its members in order, duplicates included.
    ///
    /// # Errors
    /// As [`super::each_member`].
    pub(in crate::domain::decode) fn read<'a>(
        &mut self,
        body: &'a str,
        mut each: impl FnMut(Cow<'a, str>, &'a str),
    ) -> Result<(), BadRecord> {
        self.members.clear();
        self.members.shrink_to(MEMBERS_KEPT_MAX);
        self.objects.clear();
        let (mut scanner, mut place) = (Scanner::new(body), 0);
        members(&mut scanner, |scanner| {
            let (range, escaped) = self.own.pass(place, scanner)?;
            let name = name(&body[range], escaped)?;
            let raw = if scanner.is_at_object() { self.note(place, body, scanner)? } else { scanner.value()? };
            place += 1;
            each(name, raw);
            Ok::<_, BadRecord>(())
        })?;
        Ok(scanner.end()?)
    }

    /// Notes the members of the object the scanner stands before; its text.
    fn note<'a>(&mut self, place: usize, body: &'a str, scanner: &mut Scanner<'a>) -> Result<&'a str, NotJson> {
        let mut likely = self.objects.last().map_or(0..0, |(_, range)| range.clone());
        let (from, first) = (scanner.at(), self.members.len());
        let mut none = Foretold::default();
        if place < OBJECTS_MAX && self.inner.len() <= place {
            self.inner.resize_with(place + 1, Foretold::default);
        }
        let names = self.inner.get_mut(place).unwrap_or(&mut none);
        let noted = &mut self.members;
        members(scanner, |scanner| {
            if let Some(told) = likely.next().map(|at| &noted[at])
                && scanner.passes_member(&body.as_bytes()[told.from..told.value_end])
            {
                let again = *told;
                noted.push(again);
                return Ok(());
            }
            let (name, name_escaped) = names.pass(noted.len() - first, scanner)?;
            let (value, escaped) = scanner.value_at()?;
            let value_end = scanner.at();
            noted.push(Member { from: name.start, name_end: name.end, value, value_end, name_escaped, escaped });
            Ok::<_, NotJson>(())
        })?;
        self.objects.push((from, first..self.members.len()));
        Ok(&body[from..scanner.at()])
    }

    /// The members of an object that is itself a member of the body that was read.
    pub(in crate::domain::decode) fn of(&self, body: &str, object: &str) -> &[Member] {
        let at = object.as_ptr() as usize - body.as_ptr() as usize;
        let noted = self.objects.iter().find(|(from, _)| *from == at);
        debug_assert!(noted.is_some(), "only the body's own objects are noted");
        noted.map_or(&[], |(_, range)| &self.members[range.clone()])
    }

    /// As [`super::each_member`], of an object that is a member of the body that was read.
    ///
    /// # Errors
    /// As [`super::each_member`].
    pub(in crate::domain::decode) fn each_member<'a>(
        &self,
        body: &'a str,
        object: &'a str,
        mut each: impl FnMut(Cow<'a, str>, &'a str) -> Result<(), BadRecord>,
    ) -> Result<(), BadRecord> {
        self.of(body, object).iter().try_for_each(|member| each(member.name(body)?, member.raw(body)))
    }
}

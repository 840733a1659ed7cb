//! What librdkafka says many times a second while a broker is away, told once in a while with how often it was said.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

/// The same words of one client are told this often.
const TOLD_EVERY: Duration = Duration::from_secs(30);
/// Different words remembered; beyond it all are forgotten, and told anew.
const WORDS_MAX: usize = 1_000;

/// When each text was told last, and how often it was said since.
#[derive(Debug, Default)]
struct Repeats(HashMap<(String, String), (Instant, u64)>);

impl Repeats {
    /// `None`: it was told just now. Else how often it was said unheard since it was told.
    fn said(&mut self, client: &str, what: &str, now: Instant) -> Option<u64> {
        if self.0.len() >= WORDS_MAX {
            self.0.clear();
        }
        match self.0.get_mut(&(client.to_owned(), what.to_owned())) {
            Some((told, unheard)) if now.duration_since(*told) < TOLD_EVERY => {
                *unheard += 1;
                None
            }
            Some(held) => Some(std::mem::replace(held, (now, 0)).1),
            None => {
                self.0.insert((client.to_owned(), what.to_owned()), (now, 0));
                Some(0)
            }
        }
    }
}

/// Whether to tell this now, and how often it was left out before; for all clients of the process.
pub(super) fn said(client: &str, what: &str) -> Option<u64> {
    static ALL: LazyLock<Mutex<Repeats>> = LazyLock::new(Mutex::default);
    ALL.lock().unwrap_or_else(|e| e.into_inner()).said(client, what, Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a burst is one line and nothing new is left out. Method: one text in a burst, another, the first again later.
    #[test]
    fn a_burst_is_told_once() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        assert_eq!(repeats.said("a", "down", now), Some(0));
        assert_eq!([repeats.said("a", "down", now), repeats.said("a", "down", now)], [None, None]);
        assert_eq!(repeats.said("a", "up", now), Some(0));
        assert_eq!(repeats.said("b", "down", now), Some(0));
        assert_eq!(repeats.said("a", "down", now + TOLD_EVERY), Some(2));
        assert_eq!(repeats.said("a", "down", now + TOLD_EVERY), None);
    }
}

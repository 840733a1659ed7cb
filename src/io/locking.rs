//! A file that one process holds, for as long as it lives. Knows nothing of what is in it.

use std::fs::{File, TryLockError};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// How long a lock may outlive its holder: a program that a process starts holds its files too, until it is loaded.
const LINGER: Duration = Duration::from_millis(500);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Takes the file's lock; `false` where somebody else holds it.
///
/// # Errors
/// The system's own.
pub fn lock(file: &File) -> io::Result<bool> {
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if began.elapsed() >= LINGER => return Ok(false),
            Err(TryLockError::WouldBlock) => thread::park_timeout(LOOK_AGAIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: one holder at a time, and the next one as soon as it has let go. Method: two handles, the first dropped while the
    /// second waits.
    #[test]
    fn one_holds_it_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let open = || File::create(dir.path().join("lock")).unwrap();
        let (first, second) = (open(), open());
        assert!(lock(&first).unwrap());
        assert!(!lock(&second).unwrap(), "held");
        thread::scope(|scope| {
            let waits = scope.spawn(|| while !lock(&second).unwrap() {});
            drop(first);
            waits.join().unwrap();
        });
    }
}

//! What systemd is told: that the node is ready, alive, stopping (sd_notify(3)). Without `NOTIFY_SOCKET`, nothing.
//!
//! One datagram per word; a lost one is only a word, so no error is worth more than a line in the log.

use crate::supervisor::Engine;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// How long a living node may take to show itself.
const LOOK: Duration = Duration::from_secs(1);

/// The service manager's ear.
pub struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// Half of `WATCHDOG_USEC`, as systemd advises.
    every: Option<Duration>,
    next: Instant,
}

impl Notify {
    /// As the environment says.
    pub fn of_env() -> Self {
        let socket = std::env::var("NOTIFY_SOCKET").ok().and_then(|name| open(&name));
        let watchdog: Option<u64> = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        let every = watchdog.filter(|_| socket.is_some()).map(|usec| Duration::from_micros(usec) / 2);
        Self { socket, every, next: Instant::now() }
    }

    /// Says a word: `READY=1`, `STOPPING=1`.
    pub fn say(&self, word: &str) {
        let Some((socket, to)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(word.as_bytes(), to) {
            tracing::warn!(%error, word, "the service manager cannot be told");
        }
    }

    /// Tells that the node lives, when it is time and it does: a root that does not answer is for the watchdog to end.
    pub async fn beat(&mut self, engine: &Engine) {
        let Some(every) = self.every.filter(|_| Instant::now() >= self.next) else { return };
        if matches!(tokio::time::timeout(LOOK, engine.look()).await, Ok(Ok(_))) {
            self.say("WATCHDOG=1");
        }
        self.next = Instant::now() + every;
    }
}

fn open(name: &str) -> Option<(UnixDatagram, SocketAddr)> {
    // A leading @ stands for an address that is in no file system.
    let address = match name.strip_prefix('@') {
        Some(hidden) => SocketAddr::from_abstract_name(hidden),
        None => SocketAddr::from_pathname(name),
    };
    let opened = address.and_then(|address| Ok((UnixDatagram::unbound()?, address)));
    opened.inspect_err(|error| tracing::warn!(name, %error, "the service manager has no socket that can be used")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: words arrive at both kinds of address. Method: listen at each.
    #[test]
    fn words_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let hidden = format!("widerow-test-{}", std::process::id());
        let ears = [
            (path.to_str().unwrap().to_owned(), UnixDatagram::bind(&path).unwrap()),
            (format!("@{hidden}"), UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&hidden).unwrap()).unwrap()),
        ];
        for (name, ear) in ears {
            let notify = Notify { socket: open(&name), every: None, next: Instant::now() };
            notify.say("READY=1");
            let mut heard = [0; 32];
            let length = ear.recv(&mut heard).unwrap();
            assert_eq!(&heard[..length], b"READY=1", "{name}");
        }
        assert!(open("/nowhere/at/all\0").is_none());
    }
}

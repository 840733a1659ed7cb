//! Between widerow and the search server: passes everything on, and notes when what was acknowledged.
//!
//! A client sends its next request on a connection only after the answer to the last one, so the bytes since the last
//! answer are one request.

use crate::watch::pause;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Notes {
    /// First acknowledgement of each probe.
    pub probes: HashMap<u64, Instant>,
    /// Of every bulk request.
    pub bulks: Vec<Instant>,
}

pub struct Gate {
    pub address: String,
    notes: Arc<Mutex<Notes>>,
    delay_us: Arc<AtomicU64>,
}

impl Gate {
    /// Opens a gate to `server`, `host:port`.
    pub fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (notes, delay_us) = (Arc::<Mutex<Notes>>::default(), Arc::<AtomicU64>::default());
        let (server, kept, delay) = (server.to_owned(), Arc::clone(&notes), Arc::clone(&delay_us));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                pass(client, server, &kept, &delay);
            }
        });
        Self { address: format!("http://{address}"), notes, delay_us }
    }

    /// Holds every answer to a bulk request back for so long.
    pub fn delay(&self, delay: Duration) {
        self.delay_us.store(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(|e| e.into_inner())
    }
}

type Request = Arc<Mutex<Vec<u8>>>;

fn pass(client: TcpStream, server: TcpStream, notes: &Arc<Mutex<Notes>>, delay: &Arc<AtomicU64>) {
    let halves = (client.try_clone(), server.try_clone());
    let (Ok(client_out), Ok(server_out)) = halves else { return };
    let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    let request = Request::default();
    let asked = Arc::clone(&request);
    thread::spawn(move || {
        copy(client, server_out, |bytes| asked.lock().unwrap_or_else(|e| e.into_inner()).extend_from_slice(bytes));
    });
    let (notes, delay) = (Arc::clone(notes), Arc::clone(delay));
    thread::spawn(move || {
        copy(server, client_out, |bytes| {
            let request = std::mem::take(&mut *request.lock().unwrap_or_else(|e| e.into_inner()));
            answered(&request, bytes, &notes, &delay);
        });
    });
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut seen: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut buffer) {
        seen(&buffer[..count]);
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Notes the probes of a request whose answer comes now. Further pieces of the answer find no request.
fn answered(request: &[u8], answer: &[u8], notes: &Mutex<Notes>, delay: &AtomicU64) {
    if !request.windows(7).take(400).any(|w| w == b"/_bulk?") || answer.is_empty() {
        return;
    }
    let delay = delay.load(Ordering::Relaxed);
    if delay > 0 {
        pause(Duration::from_micros(delay));
    }
    let refused = answer.windows(12).any(|w| w == b"\"status\":429" || w == b"\"status\":503");
    let now = Instant::now();
    let mut notes = notes.lock().unwrap_or_else(|e| e.into_inner());
    notes.bulks.push(now);
    if refused {
        return;
    }
    for line in request.split(|byte| *byte == b'\n') {
        let number = line.strip_prefix(b"{\"index\":{\"_id\":\"PROBE").and_then(|rest| rest.get(..8));
        let number = number.and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok());
        if let Some(number) = number {
            notes.probes.entry(number).or_insert(now);
        }
    }
}

//! One socket to one service of one server: calls go out as they come, answers come back in any order.
//!
//! Every call has its own timer, because a server drops a call that waited too long without a word. What breaks the socket
//! (a close, a framing fault, silence while calls wait) fails every call in flight with "outcome unknown" and every later one
//! at once; a socket is never used again after bytes that were no frame. Knows nothing of regions and retries.

use super::error::{Class, Error};
use super::frame::{self, FrameError, FrameReader, Reply, Service};
use super::types::Address;
use bytes::Bytes;
use prost::Message;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

/// Frames that wait for the socket. Beyond them a caller waits, under its own timer.
const OUTBOX_FRAMES: usize = 64;
/// How long the reason of an ended socket is waited for.
const REASON_WAIT: Duration = Duration::from_millis(100);
/// Call ids stay below this, so that no server reads one as negative.
const CALL_IDS: u32 = i32::MAX as u32;

/// How sockets are opened.
#[derive(Clone, Debug)]
pub struct Dial {
    /// The user name that HBase takes us for.
    pub user: String,
    pub connect_timeout: Duration,
    /// A socket on which a call waited this long and nothing at all came is closed.
    pub silence_max: Duration,
    /// Longest frame that is taken, in bytes.
    pub frame_bytes_max: usize,
    /// TLS from the first byte. Needs the feature `hbase-tls`.
    pub tls: Option<Tls>,
}

/// How both sides prove who they are.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// An authority to trust besides the system's, in PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Our own certificate. HBase asks for one unless `hbase.server.netty.tls.client.auth.mode` says `WANT` or `NONE`.
    pub identity: Option<Identity>,
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Identity {
    /// The certificate and those that lead to its authority, in PEM.
    pub certificates_pem: Vec<u8>,
    /// Its key, as PKCS #8 in PEM.
    pub key_pem: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret.
        f.write_str("Identity(***)")
    }
}

/// A handle to an open socket; clones share it. The socket closes with its last handle.
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    outbox: mpsc::Sender<Bytes>,
}

#[derive(Debug)]
struct Shared {
    address: Address,
    silence_max: Duration,
    calls: Mutex<Calls>,
    closed: Notify,
    /// Frames read so far. Silence is seen by a number that stands still.
    heard: AtomicU64,
}

#[derive(Debug, Default)]
struct Calls {
    waiting: HashMap<u32, oneshot::Sender<Result<Reply, Error>>>,
    next: u32,
    /// Why the socket is gone.
    dead: Option<Error>,
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Ends the socket: the first reason stays.
    fn poison(&self, error: Error) {
        let waiting = {
            let mut calls = self.calls();
            if calls.dead.is_some() {
                return;
            }
            calls.dead = Some(error.clone());
            std::mem::take(&mut calls.waiting)
        };
        tracing::debug!(server = %self.address, reason = %error, calls = waiting.len(), "connection closed");
        for waiter in waiting.into_values() {
            // Whoever no longer waits has its own answer already.
            let _ = waiter.send(Err(error.clone().with_unknown_outcome()));
        }
        self.closed.notify_one();
    }

    /// A place for the answer; fails on a dead socket.
    fn register(&self) -> Result<(u32, oneshot::Receiver<Result<Reply, Error>>), Error> {
        let mut calls = self.calls();
        if let Some(error) = &calls.dead {
            return Err(error.clone());
        }
        let (sender, receiver) = oneshot::channel();
        loop {
            let id = calls.next;
            calls.next = (id + 1) % CALL_IDS;
            // After a wrap an old call may still be waiting under its id.
            if let Entry::Vacant(place) = calls.waiting.entry(id) {
                place.insert(sender);
                return Ok((id, receiver));
            }
        }
    }

    fn answer(&self, reply: Reply) -> Result<(), Error> {
        let id = reply.header.call_id.unwrap_or(frame::CONNECTION_CALL_ID);
        if id == frame::CONNECTION_CALL_ID {
            let exception = reply.header.exception.unwrap_or_default();
            return Err(Error::from_exception(format_args!("connection to {}", self.address), &exception));
        }
        // No waiter: the call's timer was faster.
        let waiter = self.calls().waiting.remove(&id);
        if let Some(waiter) = waiter {
            let _ = waiter.send(Ok(reply));
        }
        Ok(())
    }
}

/// Takes a call off the map when its caller stops waiting, for whatever reason.
struct Waiting<'a> {
    shared: &'a Shared,
    id: u32,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.calls().waiting.remove(&self.id);
    }
}

impl Connection {
    /// Opens a socket and greets. HBase answers a greeting only when it refuses it, with the first call.
    ///
    /// # Errors
    /// `unreachable` when no connection is made in time; `handshake` for a fault of TLS.
    pub async fn open(address: &Address, service: Service, dial: &Dial) -> Result<Self, Error> {
        let place = || format!("connection to {address}");
        let unreachable = |what: &dyn std::fmt::Display| Error::new(Class::Unreachable, place(), what);
        let connecting = async {
            let stream = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(|e| unreachable(&e))?;
            stream.set_nodelay(true).map_err(|e| unreachable(&e))?;
            let (reader, mut writer) = secure(stream, address, dial.tls.as_ref()).await?;
            let greeting = frame::greeting(&dial.user, service);
            writer.write_all(&greeting).await.map_err(|e| unreachable(&e))?;
            writer.flush().await.map_err(|e| unreachable(&e))?;
            Ok((reader, writer))
        };
        let (reader, writer) = tokio::time::timeout(dial.connect_timeout, connecting)
            .await
            .map_err(|_| unreachable(&format_args!("no connection within {:?}", dial.connect_timeout)))??;
        Ok(Self::over(address.clone(), FrameReader::new(reader, dial.frame_bytes_max), writer, dial.silence_max))
    }

    /// A connection over halves that have been greeted.
    fn over<R, W>(address: Address, reader: FrameReader<R>, writer: W, silence_max: Duration) -> Self
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (calls, closed, heard) = Default::default();
        let shared = Arc::new(Shared { address, silence_max, calls, closed, heard });
        let (outbox, frames) = mpsc::channel(OUTBOX_FRAMES);
        let task = Arc::clone(&shared);
        tokio::spawn(async move {
            let reason = tokio::select! {
                reason = read(&task, reader) => Some(reason),
                reason = write(&task, frames, writer) => reason,
                () = task.closed.notified() => None,
            };
            if let Some(reason) = reason {
                task.poison(reason);
            }
        });
        Self { shared, outbox }
    }

    /// True when the socket is gone.
    pub fn is_dead(&self) -> bool {
        self.shared.calls().dead.is_some()
    }

    /// Calls that wait for an answer.
    pub fn in_flight(&self) -> usize {
        self.shared.calls().waiting.len()
    }

    /// One call: `cells` go into the cell block. The answer is still encoded.
    ///
    /// # Errors
    /// The server's exception; `timeout` after `timeout`; what ended the socket. With `outcome_unknown` where the server
    /// may have done it.
    pub async fn call<'a>(
        &self,
        method: &'static str,
        message: &impl Message,
        cells: impl IntoIterator<Item = &'a [u8]> + Clone,
        timeout: Duration,
    ) -> Result<Reply, Error> {
        let shared = &*self.shared;
        let place = || format!("{method} on {}", shared.address);
        let started = Instant::now();
        let deadline = started + timeout;
        let (id, mut answer) = shared.register()?;
        let _waiting = Waiting { shared, id };
        let length = cells.clone().into_iter().map(<[u8]>::len).sum();
        let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
        let frame = frame::encode(&frame::request_header(id, method, millis, length), message, cells);
        let heard = shared.heard.load(Ordering::Relaxed);
        let late = |what: &str| {
            // Nothing at all came since: the server is frozen or the path is cut. A new socket will tell. A call that had
            // little time left proves nothing.
            if shared.heard.load(Ordering::Relaxed) == heard && started.elapsed() >= shared.silence_max {
                shared.poison(Error::new(Class::Lost, place(), format_args!("silent for {timeout:?}")));
            }
            Error::new(Class::Timeout, place(), format_args!("{what} within {timeout:?}"))
        };
        let sent = tokio::select! {
            // A dead socket answers before it makes room.
            biased;
            answer = &mut answer => return flatten(answer, &place),
            sent = tokio::time::timeout_at(deadline, self.outbox.send(frame)) => sent,
        };
        let answer_by = match sent {
            Err(_) => return Err(late("the server took no more bytes")),
            Ok(Ok(())) => deadline,
            // The socket's task has ended. Its reason is on its way, unless its runtime was shut down under it.
            Ok(Err(_)) => deadline.min(Instant::now() + REASON_WAIT),
        };
        match tokio::time::timeout_at(answer_by, &mut answer).await {
            Ok(answer) => flatten(answer, &place),
            Err(_) if answer_by < deadline => {
                let error = Error::new(Class::Lost, place(), "the socket's runtime is gone");
                shared.poison(error.clone());
                Err(error)
            }
            Err(_) => Err(late("no answer").with_unknown_outcome()),
        }
    }
}

fn flatten(answer: Result<Result<Reply, Error>, oneshot::error::RecvError>, place: &dyn Fn() -> String) -> Result<Reply, Error> {
    let reply = answer.map_err(|_| Error::new(Class::Lost, place(), "the connection ended").with_unknown_outcome())?;
    match reply {
        Ok(Reply { header: super::pb::ResponseHeader { exception: Some(exception), .. }, .. }) => {
            Err(Error::from_exception(place(), &exception))
        }
        other => other,
    }
}

async fn read<R: AsyncRead + Unpin>(shared: &Shared, mut reader: FrameReader<R>) -> Error {
    let place = format!("connection to {}", shared.address);
    loop {
        let reply = match reader.next().await {
            Ok(Some(frame)) => frame::split_reply(frame),
            Ok(None) => return Error::new(Class::Lost, place, "closed by the server"),
            Err(error) => Err(error),
        };
        shared.heard.fetch_add(1, Ordering::Relaxed);
        match reply.map_err(|e| broken(&place, &e)).and_then(|reply| shared.answer(reply)) {
            Ok(()) => {}
            Err(error) => return error,
        }
    }
}

fn broken(place: &str, error: &FrameError) -> Error {
    let class = match error {
        FrameError::Io(_) | FrameError::Torn => Class::Lost,
        FrameError::TooLong { .. } | FrameError::Garbled(_) | FrameError::Message(_) => Class::Garbled,
    };
    Error::new(class, place, error)
}

/// Sends frames until the last handle is gone, which is no fault.
async fn write<W: AsyncWrite + Unpin>(shared: &Shared, mut frames: mpsc::Receiver<Bytes>, mut writer: W) -> Option<Error> {
    let mut batch = Vec::new();
    loop {
        if frames.recv_many(&mut batch, OUTBOX_FRAMES).await == 0 {
            return None;
        }
        let sending = async {
            for frame in batch.drain(..) {
                writer.write_all(&frame).await?;
            }
            writer.flush().await
        };
        if let Err(error) = sending.await {
            return Some(Error::new(Class::Lost, format_args!("connection to {}", shared.address), error));
        }
    }
}

type ReadHalf = Box<dyn AsyncRead + Unpin + Send>;
type WriteHalf = Box<dyn AsyncWrite + Unpin + Send>;

#[cfg(feature = "hbase-tls")]
async fn secure(stream: TcpStream, address: &Address, tls: Option<&Tls>) -> Result<(ReadHalf, WriteHalf), Error> {
    use tokio_native_tls::native_tls::{Certificate, TlsConnector};
    let Some(tls) = tls else { return Ok(plain(stream)) };
    let fault = |e: tokio_native_tls::native_tls::Error| {
        Error::new(
            Class::Handshake,
            format_args!("TLS to {address}"),
            format_args!("{e}; see that the server speaks TLS here, and that both certificates are known to the other side"),
        )
    };
    let unreachable = |e: &dyn std::fmt::Display| Error::new(Class::Unreachable, format_args!("TLS to {address}"), e);
    let mut builder = TlsConnector::builder();
    if let Some(pem) = &tls.ca_pem {
        builder.add_root_certificate(Certificate::from_pem(pem).map_err(fault)?);
    }
    if let Some(identity) = &tls.identity {
        let identity = tokio_native_tls::native_tls::Identity::from_pkcs8(&identity.certificates_pem, &identity.key_pem);
        builder.identity(identity.map_err(fault)?);
    }
    let connector = tokio_native_tls::TlsConnector::from(builder.build().map_err(fault)?);
    let stream =
        connector.connect(&address.host, stream).await.map_err(|e| if broke_off(&e) { unreachable(&e) } else { fault(e) })?;
    let (reader, writer) = tokio::io::split(stream);
    Ok((Box::new(reader), Box::new(writer)))
}

/// The other side went away during the handshake, which says nothing about certificates.
#[cfg(feature = "hbase-tls")]
fn broke_off(error: &tokio_native_tls::native_tls::Error) -> bool {
    let mut causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source()).peekable();
    // A close without a word has no cause at all.
    causes.peek().is_none() || causes.any(|cause| cause.is::<std::io::Error>())
}

#[cfg(not(feature = "hbase-tls"))]
#[expect(clippy::unused_async, reason = "the form with TLS waits")]
async fn secure(stream: TcpStream, address: &Address, tls: Option<&Tls>) -> Result<(ReadHalf, WriteHalf), Error> {
    if tls.is_some() {
        let text = "TLS is asked for, but this build has none; build with the feature hbase-tls";
        return Err(Error::new(Class::Handshake, format_args!("TLS to {address}"), text));
    }
    Ok(plain(stream))
}

fn plain(stream: TcpStream) -> (ReadHalf, WriteHalf) {
    let (reader, writer) = stream.into_split();
    (Box::new(reader), Box::new(writer))
}

#[cfg(test)]
mod tests;

//! The admin endpoint: HTTP on a thread and a runtime of its own, so that a dead engine does not take it along, nor it the
//! engine.
//!
//! Keeps 3-interfaces 3.5. What it answers is in `answers` and in the engine's picture; which addresses there are is the
//! table in `routes`; who may ask is `guard`'s. Knows no store and no actor by type.

mod call;
mod guard;
mod health;
mod live;
mod openapi;
mod routes;
mod stores;
mod tap;
mod web_page;

pub use routes::{Access, Answers, Param, ROUTES, Route, Verb};

use super::answers::{Code, Office, Problem};
use super::client::ADDRESS_FILE;
use super::desk::Desk;
use super::pulse::Pulse;
use crate::domain::fault::{Fault, FaultKind};
use crate::messages::control::{Command, CommandError, LookAround, Picture};
use crate::telemetry::{Metrics, Totals};
use actix::Recipient;
use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};
use guard::Guard;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the root may take to show everybody; past it, it is silent.
const LOOK_MAX: Duration = Duration::from_secs(3);
/// A replayed record passes the whole pipe.
const COMMAND_MAX: Duration = Duration::from_secs(30);
/// Open connections at most.
const CONNECTIONS_MAX: usize = 256;
/// How long requests under way may take when the endpoint ends, in seconds.
const SHUTDOWN_S: u64 = 1;

/// What a running node hands to its endpoint.
pub struct Wires {
    pub look: Recipient<LookAround>,
    pub command: Recipient<Command>,
    pub metrics: Metrics,
    pub totals: Arc<Totals>,
}

/// The node, as every request sees it.
struct Node {
    office: Office,
    wires: Wires,
    desk: Desk,
    pulse: Pulse,
    guard: Guard,
}

impl Node {
    /// Everybody's picture.
    async fn look(&self) -> Result<Picture, Problem> {
        let silent = |what: &str| {
            Problem::new(Code::NotReady, format!("the supervisor {what}"))
                .help("its log says why; a restart of the process heals it")
        };
        match tokio::time::timeout(LOOK_MAX, self.wires.look.send(LookAround)).await {
            Ok(Ok(picture)) => Ok(picture),
            Ok(Err(_)) => Err(silent("is gone")),
            Err(_) => Err(silent(&format!("does not answer within {} s", LOOK_MAX.as_secs()))),
        }
    }

    async fn command(&self, command: Command) -> Result<(), Problem> {
        let silent = |what: &str| Problem::new(Code::Unreachable, format!("the supervisor {what}"));
        match tokio::time::timeout(COMMAND_MAX, self.wires.command.send(command)).await {
            Ok(Ok(done)) => done.map_err(refused),
            Ok(Err(_)) => Err(silent("is gone")),
            Err(_) => Err(silent("has not answered yet; the wish may still be granted")),
        }
    }
}

fn refused(error: CommandError) -> Problem {
    let code = match &error {
        CommandError::NoSuchPartition(_) => Code::NoSuchPartition,
        CommandError::NoSuchActor(_) => Code::NoSuchActor,
        CommandError::NoSuchSource(_) => Code::NoSuchSource,
        CommandError::StillBad(_) => Code::StillBad,
        CommandError::Draining => Code::Draining,
    };
    Problem::new(code, error.to_string())
}

/// A running endpoint; dropped, it ends and takes its address file along.
pub struct AdminServer {
    address: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
    address_file: PathBuf,
}

impl AdminServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        // The command is sent by the call itself; the thread ends when it is done.
        drop(self.handle.stop(true));
        // A file that is gone already is as good.
        let _ = std::fs::remove_file(&self.address_file);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the admin endpoint had panicked");
        }
    }
}

/// Starts the endpoint where `admin.listen` says, and leaves its URL in the node's data folder.
///
/// # Errors
/// The address is no address, is in use, or is reachable from outside without a token; no thread, no file.
pub fn start(office: Office, wires: Wires) -> Result<AdminServer, Fault> {
    let settings = Arc::clone(&office.settings);
    let listen = &settings.admin.listen;
    let place = || format!("admin endpoint on {listen}");
    let (listener, address) = bind(listen)?;
    let loopback = address.ip().is_loopback();
    if !loopback && settings.admin.token.is_none() {
        let what =
            "others can reach this address, and nothing keeps them from changing calls; set admin.token, or listen on 127.0.0.1";
        return Err(Fault::new(FaultKind::Forbidden, place(), what));
    }
    let node = Arc::new(Node {
        guard: Guard::new(settings.admin.token.clone(), loopback),
        pulse: Pulse::new(Arc::clone(&wires.totals), office.clock),
        desk: Desk::default(),
        office,
        wires,
    });
    let (told, hears) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || serve(listener, node, &told));
    let thread = thread.map_err(|e| Fault::new(FaultKind::Full, place(), e))?;
    let started = hears.recv().unwrap_or_else(|_| Err("its thread ended".to_owned()));
    let handle = started.map_err(|what| Fault::new(FaultKind::Full, place(), what))?;
    let address_file = settings.node.data_dir.join(ADDRESS_FILE);
    let server = AdminServer { address, handle, thread: Some(thread), address_file };
    let written = std::fs::create_dir_all(&settings.node.data_dir)
        .and_then(|()| std::fs::write(&server.address_file, format!("{}\n", server.url())));
    written.map_err(|e| Fault::new(FaultKind::Full, format!("{}", server.address_file.display()), e))?;
    Ok(server)
}

fn bind(listen: &str) -> Result<(TcpListener, SocketAddr), Fault> {
    let fault = |kind, what: String| Fault::new(kind, format!("admin endpoint on {listen}"), what);
    let addresses: Vec<SocketAddr> =
        listen.to_socket_addrs().map_err(|e| fault(FaultKind::Invalid, format!("{e}; write host:port")))?.collect();
    let bound = TcpListener::bind(addresses.as_slice()).map_err(|error| {
        let help = if error.kind() == std::io::ErrorKind::AddrInUse {
            "; another program, or another node, listens there: set admin.listen to another port, or to port 0 for any free one"
        } else {
            "; set admin.listen to an address of this machine"
        };
        fault(FaultKind::Rejected, format!("{error}{help}"))
    });
    let listener = bound?;
    let address = listener.local_addr().map_err(|e| fault(FaultKind::Full, e.to_string()))?;
    Ok((listener, address))
}

/// The endpoint's thread, from start to end.
fn serve(listener: TcpListener, node: Arc<Node>, told: &mpsc::SyncSender<Result<ServerHandle, String>>) {
    actix_rt::System::new().block_on(async move {
        let shown = Arc::clone(&node);
        let app = move || App::new().configure(|config| routes::register(config, &shown));
        let server = HttpServer::new(app)
            .workers(1)
            .max_connections(CONNECTIONS_MAX)
            .client_request_timeout(Duration::from_secs(10))
            .shutdown_timeout(SHUTDOWN_S)
            .disable_signals()
            .listen(listener);
        let server = match server {
            Ok(server) => server.run(),
            Err(error) => {
                // Whoever started us hears it as the reason.
                let _ = told.send(Err(error.to_string()));
                return;
            }
        };
        // Whoever started us waits for it.
        let _ = told.send(Ok(server.handle()));
        let beat = Arc::clone(&node);
        let beating = actix_rt::spawn(async move { beat.pulse.beat(&beat.wires.metrics).await });
        if let Err(error) = server.await {
            tracing::error!(%error, "admin endpoint ended");
        }
        beating.abort();
    });
}

//! Requests to a search server: nodes in turn, time-outs, TLS, who we are.
//!
//! A node that cannot be reached rests for a while and the others are asked; the request that found out is not repeated
//! (K2: its outcome is unknown). Knows nothing of what is asked.

use crate::domain::fault::{Fault, FaultKind};
use crate::ports::clock::Moment;
use crate::settings::{ElasticsearchSettings, SearchAuth, Tls};
use bytes::Bytes;
use elasticsearch::auth::Credentials;
use elasticsearch::cert::{Certificate, CertificateValidation};
pub use elasticsearch::http::Method;
use elasticsearch::http::Url;
use elasticsearch::http::headers::{CONTENT_TYPE, HeaderMap, HeaderValue};
use elasticsearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use std::error::Error as _;
use std::fmt::Display;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a node that could not be reached is passed over.
const REST: Duration = Duration::from_secs(5);

/// The servers of one sink.
pub struct Client {
    nodes: Vec<Node>,
    next: AtomicUsize,
    timeout: Duration,
}

struct Node {
    url: String,
    transport: Transport,
    rests_until: Mutex<Option<Moment>>,
}

/// One request. `path` begins without a slash.
pub struct Ask<'a> {
    pub method: Method,
    pub path: &'a str,
    pub query: &'a [(&'a str, &'a str)],
    pub body: Option<Bytes>,
}

impl<'a> Ask<'a> {
    pub fn get(path: &'a str) -> Self {
        Self { method: Method::Get, path, query: &[], body: None }
    }
    pub fn with(method: Method, path: &'a str, body: impl Into<Bytes>) -> Self {
        Self { method, path, query: &[], body: Some(body.into()) }
    }
    pub fn query(self, query: &'a [(&'a str, &'a str)]) -> Self {
        Self { query, ..self }
    }
}

/// What came back, whatever its status.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Bytes,
}

impl Client {
    /// A client of the settings' servers. Nothing is sent yet.
    ///
    /// # Errors
    /// A certificate that cannot be read, an address or a key that the client refuses.
    pub fn new(settings: &ElasticsearchSettings) -> Result<Self, Fault> {
        let nodes = settings.urls.iter().map(|url| node(url, settings)).collect::<Result<Vec<_>, _>>()?;
        if nodes.is_empty() {
            return Err(refused("urls", "there is no server to ask"));
        }
        Ok(Self { nodes, next: AtomicUsize::new(0), timeout: settings.timeout })
    }

    /// One request's time.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The servers, for people.
    pub fn place(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().map(|node| node.url.as_str()).collect();
        format!("search server {}", urls.join(", "))
    }

    /// Asks one node, once.
    ///
    /// # Errors
    /// [`FaultKind::Unreachable`] or [`FaultKind::Timeout`]: the outcome is unknown.
    pub async fn send(&self, ask: Ask<'_>) -> Result<Reply, Fault> {
        let node = self.pick();
        let answered = self.ask(node, ask).await;
        if let Err(fault) = &answered
            && fault.kind == FaultKind::Unreachable
        {
            *node.rests_until.lock().unwrap_or_else(|e| e.into_inner()) = Some(Moment(Moment::now().0 + REST));
        }
        answered
    }

    async fn ask(&self, node: &Node, ask: Ask<'_>) -> Result<Reply, Fault> {
        let mut headers = HeaderMap::new();
        if ask.path.ends_with("_bulk") {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        }
        let query = (!ask.query.is_empty()).then_some(ask.query);
        let failed = |error| failed(&node.url, &error);
        let transport = &node.transport;
        let sent = transport.send(ask.method, ask.path, headers, query, ask.body, Some(self.timeout)).await;
        let reply = sent.map_err(failed)?;
        let status = reply.status_code().as_u16();
        let body = reply.bytes().await.map_err(failed)?;
        Ok(Reply { status, body })
    }

    /// The next node in turn that does not rest; when all do, simply the next.
    fn pick(&self) -> &Node {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let at = |step: usize| &self.nodes[turn.wrapping_add(step) % self.nodes.len()];
        let now = Moment::now();
        let rests = |node: &Node| node.rests_until.lock().unwrap_or_else(|e| e.into_inner()).is_some_and(|until| now < until);
        (0..self.nodes.len()).map(at).find(|node| !rests(node)).unwrap_or_else(|| at(0))
    }
}

fn failed(url: &str, error: &elasticsearch::Error) -> Fault {
    let kind = if error.is_timeout() { FaultKind::Timeout } else { FaultKind::Unreachable };
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    Fault::new(kind, format!("search server {url}"), text)
}

fn refused(key: &str, what: impl Display) -> Fault {
    Fault::new(FaultKind::Incompatible, format!("configuration of the search server, `{key}`"), what)
}

fn node(url: &str, settings: &ElasticsearchSettings) -> Result<Node, Fault> {
    let parsed = Url::parse(url).map_err(|error| refused("urls", format!("{url}: {error}")))?;
    // A cluster inside has no proxy in between, whatever the environment says of the world outside.
    let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(parsed)).disable_proxy().enable_meta_header(false);
    if let Some(tls) = &settings.tls {
        builder = builder.cert_validation(validation(tls)?);
    }
    match &settings.auth {
        None => {}
        Some(SearchAuth::ApiKey(key)) => {
            let key = key.reveal().trim();
            // The client takes it for a header's value and would fall over anything else.
            if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(refused("auth.api_key", "this is no API key; take the text called `encoded` in the server's answer"));
            }
            builder = builder.auth(Credentials::EncodedApiKey(key.to_owned()));
        }
        Some(SearchAuth::Basic { username, password }) => {
            builder = builder.auth(Credentials::Basic(username.clone(), password.reveal().to_owned()));
        }
    }
    let transport = builder.build().map_err(|error| refused("tls", error))?;
    Ok(Node { url: url.to_owned(), transport, rests_until: Mutex::new(None) })
}

fn validation(tls: &Tls) -> Result<CertificateValidation, Fault> {
    if tls.certificate.is_some() || tls.key.is_some() {
        let what = "client certificates are not offered to search servers; say who we are with `auth`";
        return Err(refused("tls.certificate", what));
    }
    if !tls.verify {
        return Ok(CertificateValidation::None);
    }
    let Some(path) = &tls.ca else { return Ok(CertificateValidation::Default) };
    let unread = |error: &dyn Display| refused("tls.ca", format!("{}: {error}", path.display()));
    let pem = std::fs::read(path).map_err(|error| unread(&error))?;
    let authorities = Certificate::from_pem(&pem).map_err(|error| unread(&error))?;
    Ok(CertificateValidation::Full(authorities))
}

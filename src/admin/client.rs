//! Asks a running node: a blocking client for the command line.
//!
//! Finds the node by a URL, or by the address it left in its data folder ([`ADDRESS_FILE`]). Every failure is a
//! [`Problem`]: the node's own, or one that says that no node answers and what to do. Speaks plain HTTP and uses no proxy.

use super::answers::{Code, Problem};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;
use ureq::{Agent, RequestBuilder};

/// Holds the node's URL while it runs, in `node.data_dir`.
pub const ADDRESS_FILE: &str = "admin.addr";

/// The longest a node may take for one answer; a replay waits for its record.
const ANSWER_MAX: Duration = Duration::from_secs(60);
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A node to ask.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    token: Option<String>,
    agent: Agent,
}

impl Client {
    /// The node at a URL such as `http://127.0.0.1:7280`; a bare `host:port` will do. Asks nothing yet.
    ///
    /// # Errors
    /// Another scheme than http, or no host.
    pub fn at(url: &str, token: Option<&str>) -> Result<Self, Problem> {
        let wrong = |what: &str| Problem::new(Code::BadRequest, format!("`{url}` {what}")).help("write http://host:port");
        let rest = match url.trim().split_once("://") {
            None => url.trim(),
            Some(("http", rest)) => rest,
            Some(_) => return Err(wrong("is no http URL; the admin endpoint speaks plain HTTP")),
        };
        let host = rest.trim_end_matches('/');
        if host.is_empty() || host.contains(['/', '?', '#', ' ', '@']) {
            return Err(wrong("is not the address of a node"));
        }
        let config = Agent::config_builder()
            .timeout_global(Some(ANSWER_MAX))
            .timeout_connect(Some(CONNECT_MAX))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build();
        Ok(Self { base: format!("http://{host}"), token: token.map(str::to_owned), agent: config.new_agent() })
    }

    /// The node that runs on this data folder; `None` when none does: no address was left, or nobody listens there any more.
    pub fn of_data_dir(data_dir: &Path, token: Option<&str>) -> Option<Self> {
        let left = std::fs::read_to_string(data_dir.join(ADDRESS_FILE)).ok()?;
        let client = Self::at(left.trim(), token).ok()?;
        client.answers().then_some(client)
    }

    /// The node that a verb means: the one at `admin`, else the one that runs on `data_dir`. `Ok(None)`: no node runs, so
    /// the stores may be opened.
    ///
    /// # Errors
    /// `admin` is no URL, or nobody answers there.
    pub fn find(admin: Option<&str>, data_dir: Option<&Path>, token: Option<&str>) -> Result<Option<Self>, Problem> {
        let Some(url) = admin else {
            return Ok(data_dir.and_then(|dir| Self::of_data_dir(dir, token)));
        };
        let client = Self::at(url, token)?;
        match client.text("/livez") {
            Err(problem) if problem.is(Code::Unreachable) => Err(problem),
            // It answers, however it is: what the verb asks may still be told.
            _ => Ok(Some(client)),
        }
    }

    pub fn url(&self) -> &str {
        &self.base
    }

    /// Whether anything listens and speaks our language there, however it is.
    fn answers(&self) -> bool {
        match self.text("/livez") {
            Ok(_) => true,
            Err(problem) => !problem.is(Code::Unreachable),
        }
    }

    /// `GET`, read as JSON. `path` is made by [`path`].
    ///
    /// # Errors
    /// The node's problem; nobody answers; an answer of another shape.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        self.read(path, &self.text(path)?)
    }

    /// `GET`, as the node's own text.
    ///
    /// # Errors
    /// The node's problem; nobody answers.
    pub fn text(&self, path: &str) -> Result<String, Problem> {
        self.finish(self.signed(self.agent.get(format!("{}{path}", self.base))).call())
    }

    /// `GET` of an answer that goes on: each line that is not empty, as it comes, until it ends or `each` says that it is
    /// enough.
    ///
    /// # Errors
    /// The node's problem; nobody answers; it went away within a line's time.
    pub fn lines(&self, path: &str, mut each: impl FnMut(&str) -> bool) -> Result<(), Problem> {
        let request = self.signed(self.agent.get(format!("{}{path}", self.base)));
        let answer = request.config().timeout_global(None).build().call();
        if !matches!(&answer, Ok(answer) if answer.status().is_success()) {
            return self.finish(answer).map(drop);
        }
        let mut answer = answer.map_err(|error| self.nobody(&error))?;
        let mut reader = BufReader::new(answer.body_mut().as_reader());
        let mut line = String::new();
        loop {
            line.clear();
            // The node caps the answer, each line included.
            match reader.read_line(&mut line) {
                Ok(0) => return Ok(()),
                Ok(_) if line.trim().is_empty() => {}
                Ok(_) if each(line.trim_end()) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(self.nobody(&error)),
            }
        }
    }

    fn signed<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn nobody(&self, error: &dyn std::error::Error) -> Problem {
        let what = format!("no node answers at {}: {error}", self.base);
        Problem::new(Code::Unreachable, what).help("is it running? `widerow run` starts one; `--admin URL` names another")
    }

    /// `POST` of a JSON object, read as JSON.
    ///
    /// # Errors
    /// The node's problem; nobody answers; an answer of another shape.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Problem> {
        let body = serde_json::to_vec(body).map_err(|e| Problem::new(Code::BadRequest, e.to_string()))?;
        let request = self.agent.post(format!("{}{path}", self.base)).header("Content-Type", "application/json");
        let text = self.finish(self.signed(request).send(body))?;
        self.read(path, &text)
    }

    fn finish(&self, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<String, Problem> {
        let nobody = |error: ureq::Error| self.nobody(&error);
        let mut answer = answer.map_err(nobody)?;
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().map_err(nobody)?;
        if status.is_success() {
            return Ok(text);
        }
        Err(serde_json::from_str(&text).unwrap_or_else(|_| {
            let what = format!("{} answered {status}, and not as a widerow node does", self.base);
            Problem::new(Code::Unreachable, what).help("is it another program's address?")
        }))
    }

    fn read<T: DeserializeOwned>(&self, path: &str, text: &str) -> Result<T, Problem> {
        serde_json::from_str(text).map_err(|error| {
            let what = format!("{}{path} answered something else than expected: {error}", self.base);
            Problem::new(Code::StoreFault, what).help("node and command line should be of one version")
        })
    }
}

/// An API path: `path(&["rows", kind, key], &[("max", "10")])` is `/api/v1/rows/…?max=10`, each part escaped.
pub fn path(parts: &[&str], query: &[(&str, &str)]) -> String {
    let mut out = String::from("/api/v1");
    for part in parts {
        out.push('/');
        escape(part, &mut out);
    }
    with_query(&out, query)
}

/// An address and its query, escaped.
pub fn with_query(address: &str, query: &[(&str, &str)]) -> String {
    let mut out = address.to_owned();
    for (n, (name, value)) in query.iter().enumerate() {
        out.push(if n == 0 { '?' } else { '&' });
        escape(name, &mut out);
        out.push('=');
        escape(value, &mut out);
    }
    out
}

/// Percent-escapes everything but unreserved characters and `:`, which separates our verbs.
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0').to_ascii_uppercase());
                out.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Goal: whatever a key holds, it stays one part of the path. Method: a table.
    #[test]
    fn paths_are_escaped() {
        assert_eq!(path(&["rows", "order", "12:a/b c?"], &[]), "/api/v1/rows/order/12:a%2Fb%20c%3F");
        assert_eq!(path(&["jobs"], &[("line", "a&b"), ("max", "5")]), "/api/v1/jobs?line=a%26b&max=5");
        assert_eq!(path(&["documents", "l", "门"], &[]), "/api/v1/documents/l/%E9%97%A8");
    }

    /// Goal: a wrong address is told before anything is sent. Method: a table of texts.
    #[test]
    fn addresses_are_checked() {
        for url in ["https://h:1", "", "http://", "http://h:1/path", "user@h:1"] {
            assert!(Client::at(url, None).is_err(), "{url} was accepted");
        }
        assert_eq!(Client::at("localhost:7280/", None).unwrap().url(), "http://localhost:7280");
    }

    /// Goal: nobody there is told as such, and a left address of a dead node counts as no node. Method: a port that was
    /// just given back.
    #[test]
    fn nobody_answers() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let problem = Client::find(Some(&url), None, None).unwrap_err();
        assert!(problem.is(Code::Unreachable) && problem.to_string().contains("is it running?"), "{problem}");
        let dir = tempfile::tempdir().unwrap();
        assert!(Client::of_data_dir(dir.path(), None).is_none());
        std::fs::write(dir.path().join(ADDRESS_FILE), format!("{url}\n")).unwrap();
        assert!(Client::of_data_dir(dir.path(), None).is_none());
    }

    /// Goal: the token goes along, a problem comes back as itself, another program's error as such. Method: a listener that
    /// answers from a script and shows what it was sent.
    #[test]
    fn problems_come_back() {
        let problem = Problem::new(Code::NoSuchLine, "no line is called `x`").help("there are: a");
        for (body, code) in [(serde_json::to_string(&problem).unwrap(), "no_such_line"), ("<html>".to_owned(), "unreachable")] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = Client::at(&listener.local_addr().unwrap().to_string(), Some("canary")).unwrap();
            let served = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut seen = [0; 4096];
                let n = stream.read(&mut seen).unwrap();
                write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
                    .unwrap();
                String::from_utf8_lossy(&seen[..n]).to_lowercase()
            });
            let refused = client.get::<serde_json::Value>("/api/v1/lanes?line=x").unwrap_err();
            assert_eq!(refused.code, code);
            let seen = served.join().unwrap();
            assert!(seen.starts_with("get /api/v1/lanes?line=x ") && seen.contains("authorization: bearer canary"), "{seen}");
        }
    }
}

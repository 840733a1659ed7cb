//! What the tests of this room share: writes, and a search server of a few lines whose replies the test decides.

use crate::domain::ids::{RowKey, RowVersion};
use crate::ports::sink::{Body, SinkWrite};
use bytes::Bytes;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub fn index(id: &str, version: i64, body: &str) -> SinkWrite {
    let body = Body::Index(Bytes::copy_from_slice(body.as_bytes()));
    SinkWrite { id: id.into(), version: RowVersion(version), body, row: RowKey::new(id), types: vec![] }
}

pub fn delete(id: &str, version: i64) -> SinkWrite {
    SinkWrite { body: Body::Delete, ..index(id, version, "") }
}

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub body: String,
    pub headers: Vec<String>,
}

/// What the server does with a request.
pub enum Reply {
    Json(u16, String),
    /// So many bytes of a reply that promised more, then the connection is cut.
    Cut(usize),
    /// The connection is closed without a word.
    Nothing,
}

/// Serves on a port of its own until the test ends; `answer` sees every request in turn.
pub struct OddServer {
    pub url: String,
    pub asked: Arc<Mutex<Vec<Asked>>>,
}

impl OddServer {
    pub fn new(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (answer, log) = (Arc::new(answer), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, log) = (answer.clone(), log.clone());
                std::thread::spawn(move || serve(stream, &*answer, &log));
            }
        });
        Self { url, asked }
    }

    pub fn bulks(&self) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|a| a.path.contains("_bulk")).cloned().collect()
    }
}

/// An answer for everything that is not a bulk request: an Elasticsearch 8 with the index in place.
pub fn ordinary(asked: &Asked) -> Reply {
    let body = match asked.path.split('?').next().unwrap_or_default() {
        "/" => r#"{"version":{"number":"8.19.0"},"tagline":"You Know, for Search"}"#,
        path if path.ends_with("/_settings") => r#"{"shop":{"settings":{"index":{"gc_deletes":"1h"}}}}"#,
        _ => "{}",
    };
    Reply::Json(200, body.to_owned())
}

fn serve(stream: TcpStream, answer: &(dyn Fn(&Asked) -> Reply + Send + Sync), log: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(asked) = read(&mut reader) {
        log.lock().unwrap().push(asked.clone());
        match answer(&asked) {
            Reply::Json(status, body) => {
                let head = "Content-Type: application/json";
                let reply = format!("HTTP/1.1 {status} X\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                if stream.write_all(reply.as_bytes()).is_err() {
                    return;
                }
            }
            Reply::Cut(bytes) => {
                let head = "HTTP/1.1 200 X\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n";
                let _ = stream.write_all(format!("{head}{}", " ".repeat(bytes)).as_bytes());
                return;
            }
            Reply::Nothing => return,
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut first = line.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        headers.push(line);
    }
    let length = headers.iter().find_map(|h| h.strip_prefix("content-length: ")).and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { method, path, body: String::from_utf8_lossy(&body).into_owned(), headers })
}

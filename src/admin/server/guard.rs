//! Who may ask: the token, the browser's session, and whether another web site sent the request.
//!
//! Without a token only loopback listens (settings see to it), and then only a browser can be tricked: a foreign page may
//! make it send requests here. So changing calls of another origin, and hosts that are not ours, are refused.

use super::super::answers::{Code, Problem};
use super::routes::Access;
use crate::settings::Secret;
use actix_web::HttpRequest;
use actix_web::http::header;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::VecDeque;
use std::io::Read;
use std::net::IpAddr;
use std::sync::Mutex;

/// The cookie of a browser that has shown the token.
pub const COOKIE: &str = "widerow_session";
/// Browsers remembered; the oldest one makes room.
const SESSIONS_MAX: usize = 32;

pub struct Guard {
    token: Option<Secret>,
    /// Only this machine can reach us.
    loopback: bool,
    sessions: Mutex<VecDeque<String>>,
}

impl Guard {
    pub fn new(token: Option<Secret>, loopback: bool) -> Self {
        Self { token, loopback, sessions: Mutex::default() }
    }

    /// Lets a request in, or says why not.
    ///
    /// # Errors
    /// [`Code::ForeignOrigin`], [`Code::Unauthorized`].
    pub fn admit(&self, request: &HttpRequest, access: Access) -> Result<(), Problem> {
        let host = text(request, header::HOST);
        if self.loopback && !host.is_none_or(is_local) {
            let what = "this node listens on this machine only, and the request names another host";
            return Err(Problem::new(Code::ForeignOrigin, what).help("ask 127.0.0.1 or localhost"));
        }
        let changes = matches!(access, Access::Change | Access::SignIn);
        if changes && is_foreign(request, host) {
            let what = "a page of another site made the browser send this";
            return Err(Problem::new(Code::ForeignOrigin, what).help("use the node's own page, or no browser"));
        }
        let needed = match access {
            Access::Open | Access::SignIn => false,
            Access::Read => !self.loopback,
            Access::Change => true,
        };
        if needed && self.token.is_some() && !self.knows(request) {
            let help = "send `Authorization: Bearer TOKEN` (`widerow --token`, WIDEROW_TOKEN), or sign in at /login";
            return Err(Problem::new(Code::Unauthorized, "this call needs the admin token").help(help));
        }
        Ok(())
    }

    /// Whether this caller could make changes.
    pub fn may_change(&self, request: &HttpRequest) -> bool {
        self.token.is_none() || self.knows(request)
    }

    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// A session for a browser that shows the token.
    ///
    /// # Errors
    /// It is not the token; no random bytes.
    pub fn sign_in(&self, token: &str) -> Result<String, Problem> {
        if !self.token.as_ref().is_some_and(|own| same(own.reveal(), token)) {
            return Err(Problem::new(Code::Unauthorized, "this is not the admin token").help("it stands in admin.token"));
        }
        let mut bytes = [0; 24];
        let random = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
        random.map_err(|e| Problem::new(Code::StoreFault, format!("the system gives no random bytes: {e}")))?;
        let session = URL_SAFE_NO_PAD.encode(bytes);
        let mut sessions = self.sessions.lock().unwrap_or_else(|e| e.into_inner());
        if sessions.len() >= SESSIONS_MAX {
            sessions.pop_front();
        }
        sessions.push_back(session.clone());
        Ok(session)
    }

    fn knows(&self, request: &HttpRequest) -> bool {
        let Some(token) = &self.token else { return true };
        let bearer = text(request, header::AUTHORIZATION).and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        if bearer.is_some_and(|shown| same(token.reveal(), shown)) {
            return true;
        }
        let cookies = text(request, header::COOKIE).unwrap_or_default();
        let shown = cookies.split(';').filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == COOKIE);
        let sessions = self.sessions.lock().unwrap_or_else(|e| e.into_inner());
        shown.is_some_and(|(_, session)| sessions.iter().fold(false, |known, own| known | same(own, session)))
    }
}

fn text(request: &HttpRequest, name: header::HeaderName) -> Option<&str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

/// Compares every byte whatever the others were, so that the time tells nothing of the token but its length.
fn same(own: &str, shown: &str) -> bool {
    let differ = own.bytes().zip(shown.bytes()).fold(0_u8, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
    own.len() == shown.len() && differ == 0
}

/// A `Host` that names this machine, with or without a port.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Browsers say where a request comes from; other programs say nothing.
fn is_foreign(request: &HttpRequest, host: Option<&str>) -> bool {
    if let Some(origin) = text(request, header::ORIGIN) {
        let from = origin.split_once("://").map(|(_, rest)| rest);
        return from.is_none() || from != host;
    }
    let site = request.headers().get("sec-fetch-site").and_then(|value| value.to_str().ok());
    site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn guard(token: Option<&str>, loopback: bool) -> Guard {
        Guard::new(token.map(|t| Secret::new(t.to_owned())), loopback)
    }

    /// Goal: who gets in where. Method: a table of token, listening place, access, what is shown, and the code.
    #[test]
    fn the_matrix() {
        use Access::{Change, Open, Read};
        for (token, loopback, access, shown, refused) in [
            (None, true, Change, None, None),
            (Some("secret"), true, Read, None, None),
            (Some("secret"), true, Change, None, Some(Code::Unauthorized)),
            (Some("secret"), true, Change, Some("Bearer secret"), None),
            (Some("secret"), true, Change, Some("bearer secret"), None),
            (Some("secret"), true, Change, Some("Bearer secre"), Some(Code::Unauthorized)),
            (Some("secret"), true, Change, Some("Bearer secreT"), Some(Code::Unauthorized)),
            (Some("secret"), true, Change, Some("Bearer "), Some(Code::Unauthorized)),
            (Some("secret"), true, Change, Some("Basic secret"), Some(Code::Unauthorized)),
            (Some("secret"), false, Open, None, None),
            (Some("secret"), false, Read, None, Some(Code::Unauthorized)),
            (Some("secret"), false, Read, Some("Bearer secret"), None),
        ] {
            let mut request = TestRequest::default();
            if let Some(shown) = shown {
                request = request.insert_header((header::AUTHORIZATION, shown));
            }
            let got = guard(token, loopback).admit(&request.to_http_request(), access).err();
            let wanted = refused.map(|code| code.label().to_owned());
            assert_eq!(got.map(|p| p.code), wanted, "{token:?} {loopback} {access:?} {shown:?}");
        }
    }

    /// Goal: another site cannot use a visitor's browser. Method: a table of headers on a changing call of a node without a token.
    #[test]
    fn foreign_pages_are_refused() {
        for (name, value, allowed) in [
            ("origin", "http://localhost:7280", true),
            ("origin", "http://evil.example", false),
            ("origin", "null", false),
            ("sec-fetch-site", "cross-site", false),
            ("sec-fetch-site", "same-origin", true),
            ("host", "evil.example", false),
            ("host", "[::1]:7280", true),
            ("host", "127.0.0.1", true),
        ] {
            let request = TestRequest::default().insert_header(("host", "localhost:7280")).insert_header((name, value));
            let got = guard(None, true).admit(&request.to_http_request(), Access::Change);
            assert_eq!(got.is_ok(), allowed, "{name}: {value}");
        }
    }

    /// Goal: a session stands for the token, and only a given one. Method: sign in, then show it, and another.
    #[test]
    fn a_browser_signs_in_once() {
        let guard = guard(Some("secret"), false);
        assert!(guard.sign_in("guess").is_err());
        let session = guard.sign_in("secret").unwrap();
        assert!(!session.contains("secret"));
        for (cookie, known) in [(session.as_str(), true), ("guess", false), ("", false)] {
            let request = TestRequest::default().insert_header((header::COOKIE, format!("a=b; {COOKIE}={cookie}")));
            assert_eq!(guard.admit(&request.to_http_request(), Access::Read).is_ok(), known, "{cookie}");
        }
    }
}

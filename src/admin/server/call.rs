//! One request, read: path parts, and the fields of query and body as one list, checked against the route.

use super::super::answers::{Code, Problem};
use super::routes::{Access, Route};
use actix_web::http::header;
use actix_web::web::{Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;

/// The largest body.
const BODY_BYTES_MAX: usize = 64 << 10;
/// What stands in the audit log for a change without a reason.
const NO_REASON: &str = "by the admin endpoint";
/// Entries of a list where none are asked for.
const ENTRIES: usize = 100;

/// A request's own words.
pub struct Call {
    parts: HashMap<String, String>,
    fields: Vec<(String, String)>,
    /// The caller showed the token, or none is needed.
    pub may_change: bool,
}

impl Call {
    pub async fn read(route: &Route, request: &HttpRequest, payload: Payload) -> Result<Self, Problem> {
        let wrong = |what: String| Problem::new(Code::BadRequest, what);
        let parts = request.match_info().iter().map(|(name, text)| (name.to_owned(), unescape(text))).collect();
        let query = Query::<Vec<(String, String)>>::from_query(request.query_string());
        let mut fields = query.map_err(|e| wrong(format!("the query cannot be read: {e}")))?.into_inner();
        if route.access != Access::Read {
            fields.extend(body(request, payload).await?);
        }
        for (name, _) in &fields {
            let known = route.params.iter().any(|p| p.name == name) || (name == "reason" && route.access == Access::Change);
            if !known {
                let mut names: Vec<_> = route.params.iter().map(|p| p.name).collect();
                if route.access == Access::Change {
                    names.push("reason");
                }
                let help = if names.is_empty() { "it takes none".to_owned() } else { format!("it takes: {}", names.join(", ")) };
                return Err(wrong(format!("`{name}` is no field of this call")).help(help));
            }
        }
        Ok(Self { parts, fields, may_change: false })
    }

    /// A part of the path; the route's pattern has it.
    pub fn part(&self, name: &str) -> &str {
        self.parts.get(name).map_or("", String::as_str)
    }

    /// A field; an empty one counts as left out.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    /// How many entries a list may have.
    pub fn max(&self) -> Result<usize, Problem> {
        self.parsed("max", "a whole number").map(|max| max.unwrap_or(ENTRIES))
    }

    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        self.parsed(name, "true or false").map(|flag| flag.unwrap_or(false))
    }

    pub fn parsed<T: std::str::FromStr>(&self, name: &str, wanted: &str) -> Result<Option<T>, Problem> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| Problem::new(Code::BadRequest, format!("`{name}` is `{text}`")).help(format!("write {wanted}")))
        };
        self.text(name).map(parse).transpose()
    }

    /// Why a change is asked for, for the audit log.
    pub fn reason(&self) -> String {
        self.text("reason").unwrap_or(NO_REASON).to_owned()
    }
}

/// What the router leaves escaped in a part of a path, so that it can tell parts apart.
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16));
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

async fn body(request: &HttpRequest, payload: Payload) -> Result<Vec<(String, String)>, Problem> {
    let wrong = |what: String| Problem::new(Code::BadRequest, what).help("send a JSON object, or the fields in the query");
    let read = payload.to_bytes_limited(BODY_BYTES_MAX).await;
    let bytes = read.map_err(|_| Problem::new(Code::TooLarge, format!("the body is larger than {BODY_BYTES_MAX} bytes")))?;
    let bytes = bytes.map_err(|e| wrong(format!("the body cannot be read: {e}")))?;
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/x-www-form-urlencoded") {
        let text = std::str::from_utf8(&bytes).map_err(|e| wrong(format!("the body is no text: {e}")))?;
        let form = Query::<Vec<(String, String)>>::from_query(text);
        return Ok(form.map_err(|e| wrong(format!("the form cannot be read: {e}")))?.into_inner());
    }
    let object = serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes);
    let object = object.map_err(|e| wrong(format!("the body is no JSON object: {e}")))?;
    let field = |(name, value): (String, Value)| match value {
        Value::Null => None,
        Value::String(text) => Some(Ok((name, text))),
        Value::Bool(_) | Value::Number(_) => Some(Ok((name, value.to_string()))),
        Value::Array(_) | Value::Object(_) => Some(Err(wrong(format!("`{name}` is neither text, number nor flag")))),
    };
    object.into_iter().filter_map(field).collect()
}

/// A JSON answer.
pub fn json(answer: &impl Serialize) -> Result<HttpResponse, Problem> {
    let bytes = serde_json::to_vec(answer).map_err(|e| Problem::new(Code::StoreFault, format!("the answer is no JSON: {e}")))?;
    Ok(HttpResponse::Ok().content_type("application/json").body(bytes))
}

//! The tap as an answer that goes on: one JSON object a line, until a cap is reached or the caller goes away.
//!
//! An empty line goes out every second without an event, so that a caller who left is noticed. The last line says why it
//! ended, how many events were told, and how many found no room.

use super::super::answers::{Code, Problem};
use super::Node;
use super::call::Call;
use super::routes::{Answered, Answers};
use crate::telemetry::{LISTENERS_MAX, Mask, TapListener, TapStage, TapWish};
use actix_web::HttpResponse;
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, timeout};

const EVENTS: u64 = 100;
const EVENTS_MAX: u64 = 10_000;
const BYTES: u64 = 1 << 20;
const BYTES_MAX: u64 = 16 << 20;
const SECONDS: u64 = 60;
const SECONDS_MAX: u64 = 600;
/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(1);

/// What is left of one listener's caps.
struct Flow {
    listener: TapListener,
    events: u64,
    bytes: u64,
    until: Instant,
    told: u64,
    ended: bool,
}

pub(super) fn stream(node: &Node, call: &Call) -> Answered {
    let stages = call.texts("stage").flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty());
    let settings = &node.office.settings;
    let wish = TapWish {
        stages: stages.map(stage).collect::<Result<_, _>>()?,
        key: call.owned("key"),
        mask: Mask::new(&settings.admin.mask),
        lanes: settings.queue.lanes.iter().map(|(lane, _)| lane.to_string()).collect(),
    };
    let events = capped(call, "max", EVENTS, EVENTS_MAX)?;
    let bytes = capped(call, "bytes", BYTES, BYTES_MAX)?;
    let seconds = capped(call, "seconds", SECONDS, SECONDS_MAX)?;
    let listener = TapListener::open(wish).ok_or_else(|| {
        Problem::new(Code::Conflict, format!("{LISTENERS_MAX} listen at the tap already")).help("end one of them first")
    })?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let flow = Flow { listener, events, bytes, until, told: 0, ended: false };
    let lines = stream::unfold(flow, |flow| async move {
        let (line, flow) = flow.next().await?;
        Some((Ok::<_, Infallible>(line), flow))
    });
    Ok(HttpResponse::Ok().content_type(Answers::JsonLines.content_type()).streaming(Box::pin(lines)))
}

fn stage(text: &str) -> Result<TapStage, Problem> {
    TapStage::parse(text).ok_or_else(|| {
        let known = TapStage::ALL.map(TapStage::label).join(", ");
        Problem::new(Code::BadRequest, format!("`stage` is `{text}`")).help(format!("there are: {known}"))
    })
}

fn capped(call: &Call, name: &str, usual: u64, most: u64) -> Result<u64, Problem> {
    match call.parsed(name, &format!("a whole number up to {most}"))? {
        None => Ok(usual),
        Some(n) if (1..=most).contains(&n) => Ok(n),
        Some(n) => Err(Problem::new(Code::BadRequest, format!("`{name}` is `{n}`")).help(format!("from 1 to {most} is allowed"))),
    }
}

impl Flow {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        if self.ended {
            return None;
        }
        let spent = match Instant::now() {
            _ if self.told >= self.events => Some("max"),
            _ if self.bytes == 0 => Some("bytes"),
            now if now >= self.until => Some("seconds"),
            _ => None,
        };
        if let Some(cap) = spent {
            return Some(self.end(cap));
        }
        let pause = BEAT.min(self.until.saturating_duration_since(Instant::now()));
        let Ok(mut line) = timeout(pause, self.listener.next()).await else { return Some((Bytes::from_static(b"\n"), self)) };
        line.push('\n');
        let Some(left) = self.bytes.checked_sub(line.len() as u64) else { return Some(self.end("bytes")) };
        self.bytes = left;
        self.told += 1;
        Some((Bytes::from(line), self))
    }

    fn end(mut self, cap: &str) -> (Bytes, Self) {
        self.ended = true;
        let end = json!({ "end": cap, "told": self.told, "dropped": self.listener.dropped() });
        (Bytes::from(format!("{end}\n")), self)
    }
}

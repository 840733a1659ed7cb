//! Dead letters (C7): records that could not be used, with cause and bytes.

use super::{Code, Office, Problem, at_most};
use crate::ports::ledger::DeadLetter;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LettersAnswer {
    pub total: u64,
    pub dead_letters: Vec<LetterHead>,
    /// Ask again after this id; `None` at the end.
    pub next: Option<String>,
}

/// A dead letter without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterHead {
    /// `topic/partition/offset`.
    pub id: String,
    pub source: String,
    pub topic: String,
    pub partition: i32,
    pub offset: String,
    /// A closed list: `not_json`, `missing_key` and so on.
    pub reason: String,
    pub detail: String,
    /// First and last time it was met, in ms since 1970.
    pub first: i64,
    pub last: i64,
    pub deliveries: u64,
    pub replayed: bool,
    /// Size of key, body and headers.
    pub bytes: usize,
}

/// A dead letter with its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterAnswer {
    #[serde(flatten)]
    pub head: LetterHead,
    /// The log's own time of the record, in ms since 1970.
    pub timestamp: Option<i64>,
    pub key: Option<Body>,
    pub value: Option<Body>,
    pub headers: Vec<(String, Body)>,
}

/// Bytes as text where they are UTF-8, else as base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    Text(String),
    Base64(String),
}

impl Body {
    fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(STANDARD.encode(bytes)),
        }
    }
}

impl Office {
    /// Dead letters after `after`, in id order.
    ///
    /// # Errors
    /// A ledger that does not answer.
    pub async fn dead_letters(&self, after: Option<&str>, max: usize) -> Result<LettersAnswer, Problem> {
        let max = at_most(max);
        let ledger = &self.doors.ledger;
        let mut letters = ledger.dead_letters(after.map(str::to_owned), max + 1).await?;
        let more = letters.len() > max;
        letters.truncate(max);
        let next = letters.last().filter(|_| more).map(|letter| letter.id.clone());
        let total = ledger.dead_letter_count().await?;
        Ok(LettersAnswer { total, dead_letters: letters.iter().map(head).collect(), next })
    }

    /// One dead letter with its bytes.
    ///
    /// # Errors
    /// No such letter, a ledger that does not answer.
    pub async fn dead_letter(&self, id: &str) -> Result<LetterAnswer, Problem> {
        let letter = self.letter(id).await?;
        let body = |bytes: &Option<bytes::Bytes>| bytes.as_deref().map(Body::of);
        let record = &letter.record;
        Ok(LetterAnswer {
            head: head(&letter),
            timestamp: record.timestamp.map(|at| at.0),
            key: body(&record.key),
            value: body(&record.value),
            headers: record.headers.iter().map(|(name, value)| (name.clone(), Body::of(value))).collect(),
        })
    }

    /// The letter itself, as a replay needs it.
    ///
    /// # Errors
    /// No such letter, a ledger that does not answer.
    pub async fn letter(&self, id: &str) -> Result<DeadLetter, Problem> {
        self.doors.ledger.dead_letter(id).await?.ok_or_else(|| {
            let what = format!("no dead letter is called `{id}`");
            Problem::new(Code::NoSuchDeadLetter, what)
                .help("an id is topic/partition/offset; `widerow dead-letter list` shows them")
        })
    }
}

fn head(letter: &DeadLetter) -> LetterHead {
    let record = &letter.record;
    LetterHead {
        id: letter.id.clone(),
        source: letter.source.clone(),
        topic: record.partition.topic.to_string(),
        partition: record.partition.number,
        offset: record.offset.to_string(),
        reason: letter.reason.label().to_owned(),
        detail: letter.detail.clone(),
        first: letter.first.0,
        last: letter.last.0,
        deliveries: letter.deliveries,
        replayed: letter.replayed,
        bytes: record.bytes(),
    }
}

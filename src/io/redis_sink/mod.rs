//! Documents of one line as hashes in Redis.
//!
//! Keeps K1 and K3: `v` holds the version as 19 digits, `d` the document (or each field of the document is a field of the
//! hash); one script compares and sets. A delete keeps `v` alone, with a time to live of the purge horizon; documents live
//! at least as long, so an older write never finds the version gone. One script a batch on one server, one a slot on
//! Cluster. Sent twice, a write does no harm. Knows nothing of rows or jobs.

mod body;
mod keys;

pub use keys::Keys;

use crate::domain::fault::{Advice, Fault, FaultKind};
use crate::domain::ids::RowVersion;
use crate::domain::template::Template;
use crate::io::redis::{Redis, Script, kind_of_code};
use crate::ports::Answer;
use crate::ports::sink::{Held, Sink, SinkOutcome, SinkWrite};
use crate::settings::{HashForm, RedisSinkSettings};
use body::{Hash, Packed};
use futures_util::future::join_all;
use redis::Value;
use redis::cluster_routing::Slot;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Documents and bytes of one script, at most: a server does nothing else while a script runs, and its Lua copies all of them
/// before it begins. A few dozen documents of 1 KB stay in a core's cache; hundreds do not, and ten gain nothing more.
const SCRIPT_DOCS_MAX: usize = 50;
const SCRIPT_BYTES_MAX: usize = 4 << 20;
/// Keys a server looks at in one step of a list.
const SCAN_COUNT: usize = 1_000;

/// One line's documents.
pub struct RedisSink {
    redis: Redis,
    keys: Keys,
    form: HashForm,
    script: Script,
    /// Times to live of documents (0: for ever) and of marks of deletes, in ms, as the script takes them.
    lives: [Vec<u8>; 2],
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub version: String,
    /// `noeviction`, or which keys it drops when memory is short.
    pub policy: String,
    pub servers: usize,
}

impl RedisSink {
    /// A way to the hashes; connects at the first call. `id` is the template of the line's document ids, `horizon` how
    /// long versions of deleted documents must stay.
    ///
    /// # Errors
    /// Templates that do not lead from an id to a key and back; an address that cannot be used.
    pub fn open(settings: &RedisSinkSettings, id: &Template, horizon: Duration) -> Result<Self, Fault> {
        let code = match settings.form {
            HashForm::Document => include_str!("scripts/document.lua"),
            HashForm::Fields => include_str!("scripts/fields.lua"),
        };
        // A life of 0 would be none.
        let mark = horizon.max(Duration::from_millis(1));
        let lives = [settings.ttl.map_or(Duration::ZERO, |ttl| ttl.max(mark)), mark];
        Ok(Self {
            redis: Redis::new(&settings.redis)?,
            keys: Keys::new(id.clone(), settings.key.clone())?,
            form: settings.form,
            script: Script::new(code),
            lives: lives.map(|life| life.as_millis().to_string().into_bytes()),
        })
    }

    /// Asks every server what it is.
    ///
    /// # Errors
    /// One that does not answer.
    pub async fn look(&self) -> Result<Seen, Fault> {
        let answers: Vec<String> = self.redis.call_primaries(redis::cmd("INFO")).await?;
        let word = |text: &str, key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.unwrap_or("unknown").trim().to_owned()
        };
        let first = answers.first().map_or("", String::as_str);
        let policies = answers.iter().map(|answer| word(answer, "maxmemory_policy"));
        let policy = policies.max_by_key(|policy| policy != "noeviction").unwrap_or_default();
        Ok(Seen { version: word(first, "redis_version"), policy, servers: answers.len() })
    }

    async fn put(&self, batch: Vec<SinkWrite>) -> Vec<SinkOutcome> {
        let mut outcomes = vec![None; batch.len()];
        let mut scripts: HashMap<Option<Slot>, Vec<Call>> = HashMap::new();
        for (index, write) in batch.into_iter().enumerate() {
            let packed = self.keys.key_of(&write.id).and_then(|key| Ok((key, Packed::new(write, self.form)?)));
            match packed {
                Err(reason) => outcomes[index] = Some(SinkOutcome::Rejected(reason)),
                Ok((key, packed)) => {
                    let slot = self.redis.is_cluster().then(|| Slot::for_key(&key));
                    let calls = scripts.entry(slot).or_default();
                    match calls.last_mut().filter(|call| call.takes(&packed)) {
                        Some(call) => call.add(index, key, packed),
                        None => {
                            let mut call = Call::new(&self.lives);
                            call.add(index, key, packed);
                            calls.push(call);
                        }
                    }
                }
            }
        }
        let calls: Vec<Call> = scripts.into_values().flatten().collect();
        let answers = join_all(calls.iter().map(|call| self.run(call))).await;
        for (call, answers) in calls.iter().zip(answers) {
            for (index, outcome) in call.items.iter().zip(answers) {
                outcomes[*index] = Some(outcome);
            }
        }
        let missing = || again(Fault::new(FaultKind::Incompatible, self.redis.place(), "the script did not answer for this key"));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }

    async fn run(&self, call: &Call) -> Vec<SinkOutcome> {
        match self.redis.script::<Vec<Value>>(&self.script, &call.keys, &call.args).await {
            Ok(answers) => answers.iter().zip(&call.keys).map(|(answer, key)| self.outcome(answer, key)).collect(),
            Err(fault) => vec![again(fault); call.items.len()],
        }
    }

    fn outcome(&self, answer: &Value, key: &[u8]) -> SinkOutcome {
        let text = match answer {
            Value::Int(1) => return SinkOutcome::Written,
            Value::BulkString(text) => String::from_utf8_lossy(text).into_owned(),
            other => format!("?{other:?}"),
        };
        if let Ok(version) = text.parse::<i64>() {
            return SinkOutcome::Superseded(Some(RowVersion(version)));
        }
        let place = format!("{} of {}", String::from_utf8_lossy(key), self.redis.place());
        match text.strip_prefix('!') {
            Some(error) => again(Fault::new(kind_of_error(error), place, error)),
            None => {
                let found = text.trim_start_matches('?');
                let what = format!("field `v` is `{found}`, which is no version of ours; somebody else writes this key");
                again(Fault::new(FaultKind::Corrupt, place, what))
            }
        }
    }

    async fn held(&self, id: String) -> Result<Option<Held>, Fault> {
        let rejected = |what| Fault::new(FaultKind::Rejected, self.redis.place(), what);
        let key = self.keys.key_of(&id).map_err(rejected)?;
        let hash = match self.form {
            HashForm::Document => {
                let mut ask = redis::cmd("HMGET");
                ask.arg(&key).arg("v").arg("d");
                Hash::of_document(self.redis.call(ask).await?)
            }
            HashForm::Fields => {
                let mut ask = redis::cmd("HGETALL");
                ask.arg(&key);
                Hash::of_fields(self.redis.call(ask).await?)
            }
        };
        hash.held(id).map_err(|what| Fault::new(FaultKind::Corrupt, format!("{key} of {}", self.redis.place()), what))
    }

    /// Every key is looked at for each page: `SCAN` knows no order. A page is all that is kept of them; hashes of others
    /// under a key like ours are no documents.
    async fn page(&self, after: Option<String>, max: usize) -> Result<Vec<Held>, Fault> {
        let mut page: BTreeMap<String, Held> = BTreeMap::new();
        for slot in self.slots().await? {
            let mut cursor = "0".to_owned();
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(&cursor).arg("MATCH").arg(self.keys.pattern()).arg("COUNT").arg(SCAN_COUNT).arg("TYPE").arg("hash");
                let (next, keys): (String, Vec<Vec<u8>>) = self.redis.call_at(slot, scan).await?;
                let ids = keys.iter().filter_map(|key| self.keys.id_of(std::str::from_utf8(key).ok()?));
                let full = page.len() >= max;
                let last = page.keys().next_back();
                let wanted = ids.filter(|id| after.as_ref().is_none_or(|after| id > after));
                let wanted = wanted.filter(|id| !full || last.is_some_and(|last| id < last));
                let asked = join_all(wanted.map(|id| self.held(id)).collect::<Vec<_>>()).await;
                for held in asked {
                    match held {
                        Ok(Some(held)) if held.document.is_some() => drop(page.insert(held.id.clone(), held)),
                        Err(fault) if fault.kind != FaultKind::Corrupt => return Err(fault),
                        _ => {}
                    }
                }
                while page.len() > max {
                    page.pop_last();
                }
                if next == "0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok(page.into_values().collect())
    }

    /// One slot of each primary; a single server has them all.
    async fn slots(&self) -> Result<Vec<u16>, Fault> {
        if !self.redis.is_cluster() {
            return Ok(vec![0]);
        }
        let mut ask = redis::cmd("CLUSTER");
        ask.arg("SLOTS");
        let ranges: Vec<Vec<Value>> = self.redis.call_at(0, ask).await?;
        // A range is its first slot, its last, then the primary and its replicas.
        let mut primaries: HashMap<String, u16> = HashMap::new();
        for range in ranges {
            if let (Some(Value::Int(first)), Some(primary)) = (range.first(), range.get(2)) {
                primaries.entry(format!("{primary:?}")).or_insert(u16::try_from(*first).unwrap_or_default());
            }
        }
        Ok(primaries.into_values().collect())
    }
}

/// One call of the script, and which writes it carries.
struct Call {
    items: Vec<usize>,
    keys: Vec<Vec<u8>>,
    args: Vec<Vec<u8>>,
    bytes: usize,
}

impl Call {
    fn new(lives: &[Vec<u8>; 2]) -> Self {
        Self { items: Vec::new(), keys: Vec::new(), args: lives.to_vec(), bytes: 0 }
    }
    fn takes(&self, packed: &Packed) -> bool {
        self.items.len() < SCRIPT_DOCS_MAX && self.bytes + packed.bytes() <= SCRIPT_BYTES_MAX
    }
    fn add(&mut self, index: usize, key: String, packed: Packed) {
        self.items.push(index);
        self.bytes += packed.bytes();
        self.keys.push(key.into_bytes());
        packed.push_to(&mut self.args);
    }
}

/// The script hands on what a command said, in older servers after words of its own.
fn kind_of_error(error: &str) -> FaultKind {
    let codes = error.split_whitespace().map(|word| word.trim_start_matches('-'));
    let mut known = codes.map(kind_of_code).filter(|kind| *kind != FaultKind::Incompatible);
    known.next().unwrap_or(FaultKind::Incompatible)
}

/// The outcome is unknown or not the document's fault: the row is read again later.
fn again(fault: Fault) -> SinkOutcome {
    SinkOutcome::Retry { counts: fault.advice() == Advice::Stop, fault }
}

impl Sink for RedisSink {
    fn kind(&self) -> &'static str {
        "redis"
    }

    fn write(&self, batch: Vec<SinkWrite>) -> Answer<'_, Vec<SinkOutcome>> {
        Box::pin(self.put(batch))
    }

    fn get(&self, id: String) -> Answer<'_, Result<Option<Held>, Fault>> {
        Box::pin(self.held(id))
    }

    fn list(&self, after: Option<String>, max: usize) -> Answer<'_, Result<Vec<Held>, Fault>> {
        Box::pin(self.page(after, max))
    }
}

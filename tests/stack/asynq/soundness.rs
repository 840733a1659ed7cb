//! asynq's invariant, looked at from outside: no id without its hash, each id in exactly the place its state names.

use super::ask;
use std::collections::{BTreeMap, BTreeSet};

/// Every task of every queue whose name begins so. Panics with all that is wrong.
pub(super) async fn check(connection: &mut redis::aio::MultiplexedConnection, prefix: &str) -> usize {
    let queues: Vec<String> = ask(connection, &["SMEMBERS", "asynq:queues"]).await;
    let (mut faults, mut tasks) = (Vec::new(), 0);
    for queue in queues.iter().filter(|queue| queue.starts_with(prefix)) {
        let at = format!("asynq:{{{queue}}}:");
        let mut places: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for list in ["pending", "active"] {
            let ids: Vec<String> = ask(connection, &["LRANGE", &format!("{at}{list}"), "0", "-1"]).await;
            ids.into_iter().for_each(|id| places.entry(id).or_default().push(list));
        }
        for set in ["scheduled", "retry", "archived", "completed"] {
            let ids: Vec<String> = ask(connection, &["ZRANGE", &format!("{at}{set}"), "0", "-1"]).await;
            ids.into_iter().for_each(|id| places.entry(id).or_default().push(set));
        }
        let leased: BTreeSet<String> = ask(connection, &["ZRANGE", &format!("{at}lease"), "0", "-1"]).await;
        let hashes: Vec<String> = ask(connection, &["KEYS", &format!("{at}t:*").replace(['[', ']'], "?")]).await;
        for hash in &hashes {
            let id = hash.trim_start_matches(&format!("{at}t:")).to_owned();
            let state: Option<String> = ask(connection, &["HGET", hash, "state"]).await;
            let place = places.remove(&id).unwrap_or_default();
            if state.as_deref().is_none_or(|state| place != [state]) {
                faults.push(format!("{hash} is {state:?} and lies in {place:?}"));
            }
            if leased.contains(&id) != (state.as_deref() == Some("active")) {
                faults.push(format!("{hash} is {state:?}, leased: {}", leased.contains(&id)));
            }
        }
        tasks += hashes.len();
        faults.extend(places.iter().map(|(id, places)| format!("{at}{id} lies in {places:?} without its hash")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    tasks
}

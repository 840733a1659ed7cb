//! Lays a later file over an earlier one: names are added or overridden (3-interfaces 3.2).
//!
//! Maps are merged key by key. Single values, lists, document fields and `queue.lanes` are replaced whole, and so is a
//! component whose kind changes: the settings of another kind must not shine through.

use super::spec::{Kind, Spec};
use super::tree::{Entry, Node, Value};

/// Lays `over` on `base`.
pub fn overlay(spec: Option<&Spec>, base: &mut Node, over: Node) {
    if over.is_null() {
        return;
    }
    if !merges(spec, base, &over) {
        *base = over;
        return;
    }
    let (Value::Map(entries), Value::Map(coming)) = (&mut base.value, over.value) else { return };
    for Entry { key, key_place, value } in coming {
        let child = spec.and_then(|spec| match spec.kind {
            Kind::Named(_) => spec.named(),
            _ => spec.child(&key),
        });
        match entries.iter_mut().find(|e| e.key == key) {
            Some(held) => {
                held.key_place = key_place;
                overlay(child, &mut held.value, value);
            }
            None => entries.push(Entry { key, key_place, value }),
        }
    }
}

fn merges(spec: Option<&Spec>, base: &Node, over: &Node) -> bool {
    if !matches!((&base.value, &over.value), (Value::Map(_), Value::Map(_))) {
        return false;
    }
    match spec.map(|spec| spec.kind) {
        Some(Kind::Map { .. } | Kind::Named(_) | Kind::Dict(_) | Kind::Properties) => true,
        Some(Kind::Component(component)) => {
            let kind = |node: &Node| component.kinds.iter().find(|kind| node.get(kind.name).is_some()).map(|kind| kind.name);
            // A file that names no kind speaks of the one that is there.
            kind(over).is_none() || kind(base).is_none() || kind(over) == kind(base)
        }
        _ => false,
    }
}

//! Bodies of `_bulk` requests: which documents travel together, and what the lines say.
//!
//! Keeps K2 (every line carries its version, deletes too) and the two bounds of a request, documents and bytes. Pure.

use crate::ports::sink::{Body, SinkWrite};
use std::ops::Range;

/// Bytes of an id, by the server's own rule.
pub const ID_BYTES_MAX: usize = 512;
/// What a line about a document takes besides its id: names, version, braces, line breaks.
const LINE_BYTES: usize = 96;

/// What one request may hold at most. A document larger than that travels alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub docs: usize,
    pub bytes: usize,
}

/// Why the server could never hold a document under this id; asked before anything is sent.
pub fn bad_id(id: &str) -> Option<String> {
    match id.len() {
        0 => Some("the document's id is empty, and the search server takes no empty id".to_owned()),
        n if n > ID_BYTES_MAX => {
            Some(format!("the document's id has {n} bytes, and the search server takes at most {ID_BYTES_MAX}"))
        }
        _ => None,
    }
}

/// Bytes that a write takes in a body, or a few more.
pub fn weight(write: &SinkWrite) -> usize {
    let body = match &write.body {
        Body::Index(document) => document.len(),
        Body::Delete => 0,
    };
    LINE_BYTES + write.id.len() + body
}

/// Cuts writes, in order, into as few requests as the bounds allow.
pub fn cut(writes: &[SinkWrite], bounds: Bounds) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, write) in writes.iter().enumerate() {
        let weight = weight(write);
        if at > from && (at - from >= bounds.docs || bytes + weight > bounds.bytes) {
            cuts.push(from..at);
            (from, bytes) = (at, 0);
        }
        bytes += weight;
    }
    if from < writes.len() {
        cuts.push(from..writes.len());
    }
    cuts
}

/// The body of one request.
pub fn body(writes: &[SinkWrite]) -> Vec<u8> {
    let mut out = Vec::with_capacity(writes.iter().map(weight).sum());
    for write in writes {
        let verb: &[u8] = match write.body {
            Body::Index(_) => br#"{"index":{"_id":"#,
            Body::Delete => br#"{"delete":{"_id":"#,
        };
        out.extend_from_slice(verb);
        // Writing text to a vector cannot fail.
        let _ = serde_json::to_writer(&mut out, &write.id);
        out.extend_from_slice(br#","version":"#);
        out.extend_from_slice(write.version.0.to_string().as_bytes());
        out.extend_from_slice(b",\"version_type\":\"external_gte\"}}\n");
        if let Body::Index(document) = &write.body {
            out.extend_from_slice(document);
            out.push(b'\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::testing::{delete, index};
    use super::*;
    use proptest::prelude::*;

    /// Goal: the lines the server reads. Method: one of each kind, ids that need escaping, the highest version.
    #[test]
    fn lines_say_id_version_and_kind() {
        let writes = [index("a\"b\n", i64::MAX, "{}"), delete("门", 9_007_199_254_740_993)];
        let want = "{\"index\":{\"_id\":\"a\\\"b\\n\",\"version\":9223372036854775807,\"version_type\":\"external_gte\"}}\n{}\n\
                    {\"delete\":{\"_id\":\"门\",\"version\":9007199254740993,\"version_type\":\"external_gte\"}}\n";
        assert_eq!(String::from_utf8(body(&writes)).unwrap(), want);
        assert_eq!(body(&[]), b"");
    }

    /// Goal: ids the server refuses are found here. Method: lengths at the edge.
    #[test]
    fn ids_have_a_length() {
        for (id, good) in [("a".repeat(512), true), ("a".repeat(513), false), (String::new(), false), ("门".repeat(171), false)]
        {
            assert_eq!(bad_id(&id).is_none(), good, "{} bytes", id.len());
        }
    }

    proptest! {
        /// Goal: every write travels once, in order, within both bounds unless alone. Method: random sizes and bounds.
        #[test]
        fn cuts_keep_order_and_bounds(
            sizes in prop::collection::vec(0usize..2_000, 0..60),
            docs in 1usize..20,
            bytes in 1usize..6_000,
        ) {
            let writes: Vec<_> = sizes.iter().map(|n| index("i", 1, &"x".repeat(*n))).collect();
            let cuts = cut(&writes, Bounds { docs, bytes });
            prop_assert_eq!(cuts.iter().cloned().flatten().collect::<Vec<_>>(), (0..writes.len()).collect::<Vec<_>>());
            for range in cuts {
                let total: usize = writes[range.clone()].iter().map(weight).sum();
                prop_assert!(range.len() <= docs && (total <= bytes || range.len() == 1));
                prop_assert!(body(&writes[range]).len() <= total);
            }
        }
    }
}

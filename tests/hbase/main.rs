//! The HBase client against a server whose misfortunes the test orders.
//!
//! - `raw`: what the fake itself answers, frame by frame: the rules of a real server that the client is built for
//! - `faults`: each fault is invisible but for time; outcomes, poisoned rows, deadlines
//! - `cluster`: regions that split, merge, move and open; servers that die and come back; the master; windows; tables
//! - `scanner`: a scan kept open over its pages: leases, and whatever ends a scanner in between, on the fake and on a real server
//! - `model`: writers, readers, faults and misfortune by chance, against the greatest timestamp of each cell
//! - `newest`: the cheap read of newest cells beside the ordinary one, over deletes of every kind, on the fake and on a real server
//! - `store`: the row store: its contract, losses, purges, conditions and wrong tables, on the fake and on a real server
//! - `peer`: ours and HBase's own client read what the other wrote, on a real server
//! - `real`: crashes, freezes, splits and compactions of a real server, and the model's promises there
//! - `pair`: two real region servers: regions that move, one killed under load in each WAL mode, the master away
//! - `hostile`: bytes that are no frames, in both directions: no panic, and no memory beyond the frame
//! - `fuzz`: every reader by itself on golden bytes and what chance makes of them; `memory` counts what they take

#[path = "../support/fake_hbase/mod.rs"]
#[allow(dead_code, reason = "shared with other test binaries, each of which uses a part")]
mod fake_hbase;

#[path = "../support/peer.rs"]
mod peer_process;
#[path = "../stack/servers.rs"]
mod servers;

mod bench;
mod cluster;
mod faults;
mod fuzz;
mod hostile;
mod memory;
mod model;
mod newest;
mod pair;
mod peer;
mod raw;
mod real;
mod scanner;
mod store;
mod wire;

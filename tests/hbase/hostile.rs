//! Bytes that are no frames, in both directions.
//!
//! This binary's allocator (`memory`) remembers the largest piece ever asked for: a length that is believed would show there.

use crate::bench::{TABLE, bump, client, cluster, get, put, rows, settings, table, value};
use crate::fake_hbase::{Chance, Fault, When};
use crate::memory;
use crate::wire::{Block, Wire, action, region_action};
use proptest::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use widerow::io::hbase::client::Client;
use widerow::io::hbase::frame::{Service, encode, request_header};
use widerow::io::hbase::pb;
use widerow::io::hbase::types::Scan;

/// No test of this binary needs a piece of this size, in bytes.
const PIECE_MAX: usize = 8 << 20;

/// Panics anywhere in the process, tasks that nobody joins among them.
fn panics() -> &'static AtomicUsize {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            before(info);
        }));
    });
    &PANICS
}

/// Goal: twisted replies of every kind are errors or harmless, and the client works on. Method: a third of all data calls
/// answered with some bytes changed, lengths most of all; then the same rows in peace.
#[tokio::test]
async fn twisted_replies_do_no_harm() {
    let panics = panics();
    for seed in 0..6 {
        let fake = crate::fake_hbase::FakeHbase::start(2, seed);
        fake.create_table(TABLE, &["cf", "m"], &["b", "c", "d"]);
        let mut settings = settings(&fake);
        (settings.call_timeout, settings.operation_timeout) = (Duration::from_millis(150), Duration::from_secs(2));
        let client = Client::new(settings).unwrap();
        for method in ["GetMetaRegionLocations", "GetActiveMaster", "GetTableDescriptors"] {
            fake.script(When::next(method), Fault::Twist);
        }
        fake.by_chance(Some(Chance { one_in: 2, faults: vec![Fault::Twist], left: 60 }));
        for round in 0..4 {
            let puts = rows().iter().map(|row| put(row, 1 + round, row)).collect();
            let bumps = rows().iter().map(|row| bump(row, 1 + round, row)).collect();
            let scan = Scan { bytes_max: 1, ..Scan::from("", 5) };
            let (puts, bumps, gets, page, described) = tokio::join!(
                client.put_many(table(), puts),
                client.mutate_many(table(), bumps),
                client.get_many(table(), rows().iter().map(|row| get(row)).collect()),
                client.scan(table(), &scan),
                client.describe_table(table()),
            );
            assert_eq!([puts.len(), bumps.len(), gets.len()], [12; 3]);
            assert!(page.is_ok_and(|page| page.rows.len() <= 5) || described.is_ok() || fake.faults_met().len() > 2);
        }
        fake.by_chance(None);
        let puts = rows().iter().map(|row| put(row, 9, &format!("{row}!"))).collect();
        assert!(client.put_many(table(), puts).await.iter().all(Result::is_ok), "seed {seed}");
        for (row, answer) in rows().iter().zip(client.get_many(table(), rows().iter().map(|row| get(row)).collect()).await) {
            assert_eq!(value(&answer.unwrap()).0, format!("{row}!"), "seed {seed}");
        }
        assert!(fake.faults_met().len() > 20, "{} twists", fake.faults_met().len());
    }
    assert_eq!(panics.load(Ordering::SeqCst), 0);
    assert!(memory::largest() < PIECE_MAX, "{} bytes at once", memory::largest());
}

/// A server that says these bytes to whoever connects, whatever is asked.
async fn mouth(bytes: Vec<u8>) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let speaking = tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut socket, &bytes).await;
        }
    });
    (address, speaking)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Goal: a server that is none ends an operation with an error. Method: noise, frames of noise with true and false
    /// lengths, right call ids before noise.
    #[test]
    fn noise_for_a_server_is_an_error(noise in prop::collection::vec(any::<u8>(), 0..200), length in prop_oneof![Just(None), any::<u32>().prop_map(Some)], id in 0u32..4) {
        let panics = panics();
        let header = pb::ResponseHeader { call_id: Some(id), ..Default::default() };
        let mut bytes = encode(&header, &pb::Empty {}, [&noise[..]]).to_vec();
        if let Some(length) = length {
            bytes[..4].copy_from_slice(&length.to_be_bytes());
        } else if noise.len() % 2 == 0 {
            bytes.clone_from(&noise);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(async {
            let (address, speaking) = mouth(bytes).await;
            let fake_settings = widerow::io::hbase::client::ClientSettings {
                call_timeout: Duration::from_millis(30),
                operation_timeout: Duration::from_millis(60),
                ..widerow::io::hbase::client::ClientSettings::new(vec![address])
            };
            let client = Client::new(fake_settings).unwrap();
            let outcome = client.put_many(table(), vec![put("a", 1, "x")]).await.remove(0);
            speaking.abort();
            outcome.unwrap_err()
        });
        prop_assert!(!error.text.is_empty());
        prop_assert_eq!(panics.load(Ordering::SeqCst), 0);
        prop_assert!(memory::largest() < PIECE_MAX);
    }
}

/// Goal: the fake takes what a client twists without harm, so that what it proves of the client is true. Method: good batches
/// with bytes changed, cut off and noise; then a good one.
#[test]
fn twisted_requests_do_not_break_the_fake() {
    let panics = panics();
    let fake = cluster();
    let address = fake.addresses()[1].clone();
    let region = Wire::open(&address, Service::Client).regions(TABLE).remove(0);
    let batch = || {
        let mut block = Block::default();
        let plain = vec![action(0, block.put("a1", 5, "x")), action(1, block.put("a2", 5, "x"))];
        let atomic = vec![action(0, block.put("a1", 6, "y")), action(1, block.increment("a1", Some(9)))];
        let actions = vec![region_action(&region, false, plain), region_action(&region, true, atomic)];
        (pb::MultiRequest { region_action: actions, nonce_group: Some(1) }, block)
    };
    let (request, block) = batch();
    let header = request_header(1, "Multi", 1000, block.0.bytes().len());
    let good = encode(&header, &request, [block.0.bytes()]);
    let mut dice = crate::fake_hbase::Dice(3);
    for round in 0..400 {
        let mut bytes = good.to_vec();
        for _ in 0..=dice.below(3) {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] = dice.next() as u8;
        }
        if round % 5 == 0 {
            bytes.truncate(dice.below(bytes.len() as u64) as usize);
        }
        let mut wire = Wire::open(&address, Service::Client);
        // The fake may close at any byte.
        let _ = wire.send_bytes(&bytes);
    }
    let mut wire = Wire::open(&address, Service::Client);
    let (reply, _): (pb::MultiResponse, _) = wire.call("Multi", &request, block.0.bytes()).unwrap();
    assert!(reply.region_action_result.iter().all(|r| r.exception.is_none()), "{reply:?}");
    assert_eq!(panics.load(Ordering::SeqCst), 0);
    drop(client(&fake));
}

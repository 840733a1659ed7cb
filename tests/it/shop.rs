//! Goal: a trading shop in every format ends as its own books say, whatever its disturbances. Method: the generator trades
//! through a whole node on memory parts; every document of both lines is compared with the shop's truth, both ways.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use widerow::domain::decode::Format;
use widerow::domain::ids::Name;
use widerow::io::generator::{GeneratorSource, Json};
use widerow::io::jobbook::wait::wall_clock;
use widerow::io::memory::{MemoryDocuments, MemoryLedger, MemoryQueue, MemoryRowStore};
use widerow::ports::Doors;
use widerow::ports::sink::Sink;
use widerow::settings::{self, GeneratorSettings, Settings, SourceKind};
use widerow::supervisor::{Engine, IdleState, Parts, SourcePart, block_on, wiring};
use widerow::telemetry::Totals;

const DEMO: &str = include_str!("../../config/demo.yaml");
/// Only a defect makes a run wait so long.
const PATIENCE: Duration = Duration::from_secs(120);

fn generator(format: Format, seed: u64, events: u64) -> GeneratorSettings {
    GeneratorSettings {
        seed,
        entities: 300,
        events: Some(events),
        rate: None,
        disorder: 0.1,
        duplicates: 0.02,
        partitions: 4,
        format,
        skew: 0.8,
        hot: 0.05,
        big: 0.001,
        replay: 0.5,
    }
}

fn settings() -> Settings {
    match settings::load_text("demo.yaml", DEMO, &|_| None) {
        Ok(loaded) => loaded.settings,
        Err(found) => panic!("{found:#?}"),
    }
}

async fn until_idle(engine: &Engine) {
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    loop {
        ticks.tick().await;
        match engine.idle().await.expect("the supervisor answers") {
            IdleState::Idle => return,
            IdleState::Busy => assert!(begun.elapsed() < PATIENCE, "not idle: {:#?}", engine.look().await),
            IdleState::Stopped(why) => panic!("stopped: {why}"),
        }
    }
}

async fn held(sink: &dyn Sink) -> BTreeMap<String, Json> {
    let (mut all, mut after) = (BTreeMap::new(), None);
    loop {
        let page = sink.list(after, 500).await.expect("memory answers");
        let Some(last) = page.last() else { return all };
        after = Some(last.id.clone());
        for held in page {
            if let Some(document) = held.document {
                all.insert(held.id, Json::parse(&document).expect("a document is JSON"));
            }
        }
    }
}

fn trade(format: Format, seed: u64, events: u64) {
    let generator = generator(format, seed, events);
    eprintln!("{generator:?}");
    let mut settings = settings();
    settings.node.threads = 2;
    settings.node.entities_max = 64;
    settings.sources[0].kind = SourceKind::Generator(generator.clone());
    let settings = Arc::new(settings);
    block_on(async {
        let sinks: Vec<(Name, Arc<MemoryDocuments>)> =
            settings.lines.iter().map(|l| (l.line.name, Arc::new(MemoryDocuments::new()))).collect();
        let doors = Doors {
            rows: Arc::new(MemoryRowStore::new(Arc::clone(&settings.schema))),
            queue: Arc::new(MemoryQueue::new(&settings.queue, wall_clock())),
            ledger: Arc::new(MemoryLedger::new()),
            sinks: sinks.iter().map(|(name, sink)| (*name, Arc::clone(sink) as Arc<dyn Sink>)).collect(),
        };
        let source = GeneratorSource::new("shop", &generator);
        let shop = source.shop();
        let parts =
            Parts { doors, sources: vec![SourcePart { settings: settings.sources[0].clone(), source: Box::new(source) }] };
        let totals = Arc::new(Totals::default());
        let engine = Engine::start(Arc::clone(&settings), parts, Arc::clone(&totals), wiring::clock);
        until_idle(&engine).await;
        assert_eq!(totals.dead_letters(), 0);
        let expected = shop.lock().unwrap().expected();
        for (line, wanted) in expected {
            let (_, sink) = sinks.iter().find(|(name, _)| name.as_str() == line).expect("the line is configured");
            let got = held(&**sink).await;
            assert!(wanted.len() > 5, "{line}: too few documents to tell anything");
            for (id, want) in &wanted {
                assert_eq!(got.get(id), Some(want), "{line}/{id}");
            }
            let ghosts: Vec<_> = got.keys().filter(|id| !wanted.contains_key(*id)).collect();
            assert!(ghosts.is_empty(), "{line}: {ghosts:?} should be gone");
        }
        engine.drain().await;
    });
}

#[test]
fn a_shop_in_debezium_form() {
    (1..=3).for_each(|seed| trade(Format::Debezium, seed, 4_000));
}

#[test]
fn a_shop_in_canal_form() {
    (11..=13).for_each(|seed| trade(Format::Canal, seed, 4_000));
}

#[test]
fn a_shop_in_maxwell_form() {
    (21..=23).for_each(|seed| trade(Format::Maxwell, seed, 4_000));
}

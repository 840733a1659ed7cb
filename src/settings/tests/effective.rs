//! Goal: the effective configuration and the reference agree with the loader, and neither tells a secret.

use super::*;
use crate::cli::{config, findings};
use crate::settings::findings::nearest;
use crate::settings::spec::{KEYS, Kind, docs, root};
use crate::settings::tree::{Node, Value};

/// Goal: the list of keys and the file of defaults are one. Method: both walked, path by path.
#[test]
fn the_list_of_keys_is_the_file_of_defaults() {
    let mut paths = BTreeSet::new();
    walk(load::defaults(), "", &mut paths);
    let listed: BTreeSet<String> = KEYS.iter().map(|key| key.path.to_owned()).collect();
    assert_eq!(paths, listed);
    for key in KEYS {
        assert!(root().at(key.path).is_some(), "`{}` stands before its parent", key.path);
        let doc = docs().get(key.path).map_or("", String::as_str);
        assert!(doc.ends_with(['.', ')', '`']), "`{}` is not explained: `{doc}`", key.path);
    }
}

fn walk(node: &Node, path: &str, out: &mut BTreeSet<String>) {
    for entry in node.entries() {
        let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
        let leaf = root().at(&path).is_some_and(|spec| matches!(spec.kind, Kind::Lanes | Kind::Dict(_) | Kind::Properties));
        if !leaf {
            walk(&entry.value, &path, out);
        }
        out.insert(path);
    }
}

/// Goal: every default is a value of its key's type. Method: a configuration that says nothing of them loads, and shows them.
#[test]
fn defaults_are_good_values() {
    let generator = BASE.replace("jsonl: { path: in.jsonl }", "generator: {}");
    let shown = loaded(&generator).origin.json();
    let origins = shown["origins"].as_array().unwrap();
    let is_default = |path: &str| origins.iter().any(|o| o["path"] == path && o["origin"]["from"] == "default");
    for path in
        ["node.entities_max", "sources.shop.generator.rate", "queue.retry.base", "lines.order_search.delete", "ledger.embedded"]
    {
        assert!(is_default(path), "{path} is not shown as a default: {shown:#}");
    }
    assert_eq!(shown["config"]["sources"]["shop"]["generator"]["events"], 10_000);
    assert_eq!(shown["config"]["lines"]["order_search"]["skip_equal"], false);
}

/// Goal: what `config show` prints is a configuration that means the same. Method: load what it shows, show again.
#[test]
fn what_is_shown_loads_to_the_same() {
    for text in [BASE, ORDER, PRODUCT, DEMO] {
        let first = loaded(text);
        let shown = config::show(&first, config::Form::Yaml, false);
        let again = loaded(&shown);
        assert_eq!(config::show(&again, config::Form::Yaml, false), shown);
        assert_eq!(first.origin.hash(), again.origin.hash());
        assert_eq!(format!("{:?}", first.settings.lines), format!("{:?}", again.settings.lines));
        assert_eq!(format!("{:?}", first.settings.queue), format!("{:?}", again.settings.queue));
    }
}

/// Goal: each value names its origin. Method: a default, a line of a file and a variable.
#[test]
fn origins_are_named() {
    let shown = config::show(&loaded(ORDER), config::Form::Yaml, true);
    let line = |key: &str| shown.lines().find(|l| l.trim_start().starts_with(key)).unwrap_or_default();
    assert!(line("data_dir:").ends_with("# env OUT"), "{shown}");
    assert!(line("id: contract").ends_with("# test.yaml:2"), "{shown}");
    assert!(line("threads:").ends_with("# default"), "{shown}");
    let json = config::show(&loaded(ORDER), config::Form::Json, true);
    assert!(json.contains("\"variables\":[\"OUT\""), "{json}");
}

/// Goal: a secret is in no output, wherever it comes from. Method: a canary in every place a secret may stand, every
/// output searched for it.
#[test]
fn secrets_are_never_shown() {
    const CANARY: &str = "canary-7f3a91";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{CANARY}\n")).unwrap();
    let env = |name: &str| (name == "CANARY").then(|| CANARY.to_owned());
    let in_file = format!("secret://file/{}", file.display());
    let tokens = [CANARY, "secret://env/CANARY", "${CANARY}", "${NO:-canary-7f3a91}", &in_file];
    for token in tokens {
        let good = BASE.replace("listen: ", &format!("token: \"{token}\", listen: "));
        let loaded = load_text("test.yaml", &good, &env).unwrap_or_else(|found| panic!("{token}: {found:#?}"));
        assert_eq!(loaded.settings.admin.token.as_ref().map(Secret::reveal), Some(CANARY), "{token}");
        let mut outputs = vec![format!("{loaded:?}"), findings::text(&loaded.warnings, true), findings::json(&loaded.warnings)];
        for form in [config::Form::Yaml, config::Form::Json] {
            outputs.push(config::show(&loaded, form, true));
        }
        // Faults on the very line, before it and after it; a misspelt key; the wrong section; broken YAML.
        for (from, to) in [
            ("listen: \"127.0.0.1:0\"", "listen: 5"),
            ("token:", "tokn:"),
            ("token:", "x: canary-7f3a91, token:"),
            ("admin: { token:", "store: { token:"),
            ("admin: { token:", "admin: [ token:"),
            ("admin: {", "admin: { auth: { password: canary-7f3a91 },"),
            ("listen:", "url: \"redis://user:canary-7f3a91@host/0\", listen:"),
            ("  id: n1", "  id: \"${NOT_SET}\""),
        ] {
            // An unknown key whose name says nothing can only be known by its value.
            if to.starts_with("x:") && token != CANARY {
                continue;
            }
            let bad = good.replace(from, to);
            let found = load_text("test.yaml", &bad, &env).expect_err(to);
            outputs.extend([format!("{found:?}"), findings::text(&found, false), findings::json(&found)]);
        }
        for output in outputs {
            assert!(!output.contains(CANARY), "{token} is told: {output}");
        }
    }
}

/// Goal: no key that takes a secret is forgotten by what shows it. Method: a file with a canary under every such key of
/// the list and under properties that hold one; each output searched, and each canary found where it is needed.
#[test]
fn no_secret_key_is_forgotten() {
    const CANARY: &str = "canary-7f3a91";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, CANARY).unwrap();
    let text = SECRETS.replace("CANARY", CANARY).replace("secret://file/token", &format!("secret://file/{}", file.display()));
    let secrets = KEYS.iter().filter(|key| key.kind == Kind::Secret).map(|key| key.path.rsplit('.').next().unwrap());
    let loaded = loaded(&text);
    let shown = config::show(&loaded, config::Form::Yaml, false);
    // One line each, and the six properties beside them.
    assert_eq!(shown.matches("\"***\"").count(), secrets.count() + 6, "{shown}");
    assert!(shown.contains("fetch.message.max.bytes: 4194304"), "{shown}");
    let plain = loaded.warnings.iter().filter(|f| f.code == Code::PlainSecret).count();
    assert_eq!(plain, text.lines().filter(|line| !line.starts_with('#') && line.contains(CANARY)).count());
    let SourceKind::Kafka(kafka) = &loaded.settings.sources[0].kind else { panic!("not Kafka") };
    let revealed = kafka.address.properties.iter().filter(|(_, value)| value.reveal() == CANARY).count();
    assert_eq!((revealed, kafka.address.properties.len()), (5, 6), "the client gets what is starred");
    let mut outputs = vec![format!("{loaded:?}"), findings::text(&loaded.warnings, true), findings::json(&loaded.warnings)];
    outputs.extend([false, true].map(|origin| config::show(&loaded, config::Form::Yaml, origin)));
    outputs.extend([false, true].map(|origin| config::show(&loaded, config::Form::Json, origin)));
    for (from, to) in [
        ("{ username: u, password: canary-7f3a91 }", "{ username: u, password: [canary-7f3a91] }"),
        (
            "      sasl: { username: u, password: canary-7f3a91 }",
            "      sasl:\n        username: u\n        password:\n          - canary-7f3a91",
        ),
        ("        ssl.key.password: canary-7f3a91", "        ssl.key.password:\n          - canary-7f3a91"),
        ("fetch.message.max.bytes: 4194304", "sasl.password.x: { a: canary-7f3a91 }"),
        ("brokers: [\"127.0.0.1:1\"]\n      topics", "brokers: [\"u:canary-7f3a91@h:1\"]\n      topics"),
        ("urls: [\"http://127.0.0.1:1\"], index: a", "urls: \"http://u:canary-7f3a91@h\", index: a"),
        ("urls: [\"http://127.0.0.1:1\"], index: a", "urls: [\"u:canary-7f3a91@h\"], index: a"),
        ("redis: \"redis://127.0.0.1:1\"", "redis: \"redis://u:canary-7f3a91@h:1\""),
        ("redis: \"redis://127.0.0.1:1\"", "redis: \"redis://u:x/canary-7f3a91@h:1\""),
        ("url: \"redis://127.0.0.1:1\"", "url: \"redis://:canary-7f3a91@h:1/0\""),
        ("${NOT_SET:-canary-7f3a91}", "${NOT_SET:canary-7f3a91}"),
        ("${NOT_SET:-canary-7f3a91}", "${7canary-7f3a91}"),
        ("api_key: canary-7f3a91", "apikey: canary-7f3a91"),
        ("queue:\n", "queue: [ password: canary-7f3a91\n"),
        ("queue:\n", "quue: { password: [canary-7f3a91] }\nqueue:\n"),
    ] {
        let bad = text.replacen(from, to, 1);
        assert_ne!(bad, text, "{from} is not there");
        let found = load_text("test.yaml", &bad, &env).expect_err(to);
        outputs.extend([format!("{found:?}"), findings::text(&found, false), findings::json(&found)]);
    }
    for output in outputs {
        assert!(!output.contains(CANARY), "told: {output}");
    }
}

/// Goal: a value from a variable is in no finding. Method: a variable with a value of the wrong type.
#[test]
fn values_of_variables_are_not_in_findings() {
    let found = found(&BASE.replace("max_pending: 10", "max_pending: \"${BAD}\""));
    assert!(found[0].message.contains("${BAD}") && !found[0].message.contains("belongs"), "{found:#?}");
}

/// Goal: `config explain` finds keys as people write them. Method: a table of questions.
#[test]
fn keys_are_explained() {
    for (asked, path) in [
        ("queue.retry.max", "queue.retry.max"),
        ("rows.order.key", "rows.*.key"),
        ("rows.order.tables.trade.orders.id", "rows.*.tables.*.id"),
        ("sources.format", "sources.*.format"),
        ("expire_after", "queue.expire_after"),
        ("lines.x.document.fields.items.each", "lines.*.document.fields.*.each"),
    ] {
        let text = config::explain(asked).unwrap();
        assert!(text.starts_with(&format!("{path}\n")), "{asked} answered {text}");
    }
    assert!(config::explain("queue.expire_after").unwrap().contains("default  20m"));
    assert!(config::explain("path").unwrap().contains("lines.*.sink.jsonl.path"), "several matches are listed");
    assert!(config::explain("").unwrap().contains("sources"));
    assert!(config::explain("queue.max_pendin").unwrap_err().contains("queue.max_pending"));
    assert!(config::explain("nothing.like.it").is_err());
}

/// Goal: the schema knows every key and no other. Method: each listed path is looked up in it.
#[test]
fn the_schema_has_every_key() {
    let schema: serde_json::Value = serde_json::from_str(&config::schema()).unwrap();
    for key in KEYS {
        let mut at = &schema;
        for segment in key.path.split('.') {
            // A field's map is the second of its two forms.
            let object = if at["anyOf"].is_array() { &at["anyOf"][1] } else { at };
            at = if segment == "*" { &object["additionalProperties"] } else { &object["properties"][segment] };
            assert!(at.is_object(), "{} is not in the schema", key.path);
        }
        assert!(at["description"].is_string(), "{} is not described", key.path);
    }
    assert_eq!(schema["properties"]["queue"]["properties"]["max_pending"]["default"], 5000);
    assert_eq!(schema["additionalProperties"], false);
}

/// Goal: a did-you-mean is near, or is not made. Method: slips and strangers.
#[test]
fn only_near_texts_are_proposed() {
    let allowed = ["max_pending", "lanes", "lease"];
    for (text, want) in
        [("max_pendign", Some("max_pending")), ("Lanes", Some("lanes")), ("lane", Some("lanes")), ("zzz", None), ("x", None)]
    {
        assert_eq!(nearest(text, allowed), want, "{text}");
    }
}

/// Goal: a tree's places are those of an editor. Method: wide characters before a value, a block text, an empty value.
#[test]
fn places_count_characters() {
    let mut found = crate::settings::findings::Findings::default();
    let node = tree::parse(1, "门店: 值\nb: |\n  text\nc:\n", &mut found).unwrap();
    let place = |key: &str| node.get(key).map(|n| (n.place.line, n.place.column)).unwrap();
    assert_eq!(place("门店"), (1, 5));
    assert_eq!(place("b"), (3, 3), "a block text stands where its first line does");
    assert!(matches!(&node.get("c").unwrap().value, Value::Scalar(s) if s.is_null()));
}

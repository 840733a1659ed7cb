use super::*;
use clap::CommandFactory;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

/// Goal: the definitions hold together. Method: clap's own assertions.
#[test]
fn definitions_hold() {
    Cli::command().debug_assert();
}

/// Goal: what a user types is what is read. Method: one line per verb, each with its telling fields.
#[test]
fn verbs_are_read() {
    let Ok(Cli { verb: Verb::Run(run), global }) = parse("widerow run -c a.yaml -c b --until-idle -o json") else { panic!() };
    assert_eq!(run.files.config, [PathBuf::from("a.yaml"), PathBuf::from("b")]);
    assert!(run.until_idle && !run.dry_run && !run.from_start && global.output == Output::Json);

    let Ok(Cli { verb: Verb::Row(Row::Why(row)), .. }) = parse("widerow row why order --key a=1 --key b=2") else { panic!() };
    assert_eq!((row.kind.as_str(), row.which.row_key), ("order", None));
    assert_eq!(row.which.key, [("a".into(), "1".into()), ("b".into(), "2".into())]);

    let Ok(Cli { verb: Verb::Demo(demo), .. }) = parse("widerow demo --for 90s --rate 50/s --port 0") else { panic!() };
    assert_eq!((demo.run_for, demo.rate, demo.port, demo.seed), (Some(Duration::from_secs(90)), 50.0, 0, 7));

    let Ok(Cli { verb: Verb::Partitions(p), .. }) = parse("widerow partitions pause shop.orders 3 --reason x") else { panic!() };
    let Some(PartitionChange::Pause(one)) = p.change else { panic!() };
    assert_eq!((one.topic.as_str(), one.partition, one.reason.as_deref()), ("shop.orders", 3, Some("x")));

    for line in [
        "widerow partitions",
        "widerow --admin http://h:1 partitions -c a.yaml",
        "widerow dead-letter replay shop.orders/0/12",
        "widerow job release --line l --state buried",
        "widerow rebuild order_search --from 1 --to 2 --rate 100/s",
        "widerow generate --out d --format canal --disorder 5%",
        "widerow config show --origin -c a.yaml",
        "widerow config explain queue.max_pending",
        "widerow completion zsh",
        "widerow doc list order_search --after 7",
        "widerow version",
    ] {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
    }
}

/// Goal: wrong usage ends with 2 and says what is wrong. Method: a table of lines and words of the answer.
#[test]
fn wrong_usage_is_refused() {
    for (line, words) in [
        ("widerow row get order", "ROWKEY"),
        ("widerow row get order k --key a=1", "cannot be used with"),
        ("widerow row get order --key a", "column=value"),
        ("widerow demo --rate 0/s", "2000/s"),
        ("widerow generate --out d --hot 5", "5%"),
        ("widerow job list --state dead", "buried"),
        ("widerow rum", "run"),
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), i32::from(Exit::Usage.code()), "{line}");
        assert!(error.to_string().contains(words), "{line}: {error}");
    }
}

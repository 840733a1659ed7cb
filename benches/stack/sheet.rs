//! The kept figures as a table in `docs/performance.md` and as a chart beside it: nothing there is typed by hand. What was not
//! run again stays as it stands there.

use crate::common::measure::say;
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;

const PAGE: &str = "docs/performance.md";
const CHART: &str = "docs/performance.svg";
const BEGIN: &str = "<!-- figures: ./dev bench table -->\n";
const END: &str = "<!-- end of figures -->";

/// What is told of a run: its file, where the figure stands in it, what is measured, the unit, the goal.
const FIGURES: &[(&str, &str, &str, &str, &str)] = &[
    ("engine", "/cpu_us_per_event", "engine alone: CPU per event", "µs", "≤ 6"),
    ("engine", "/events_per_second", "engine alone: events", "/s", "≥ 250,000"),
    ("kafka", "/to_frontier_per_second", "Kafka to frontier: records", "/s", "≥ 150,000 a core"),
    ("sinks", "/search_new_of_plain", "search: new documents beside a plain loader", "×", "≥ 0.9"),
    ("sinks", "/search_changed_of_plain", "search: changed documents beside a plain loader", "×", "≥ 0.9"),
    ("sinks_redis", "/newer_per_redis_core", "Redis: documents per core of the server", "/s", "≥ 200,000"),
    ("queue", "/offer_to_finish_us", "queue: Redis CPU per job, offer to finish", "µs", "≤ 10"),
    ("queue", "/stock_asynq_of_ours", "queue: Redis CPU per job of stock asynq, of ours", "×", ""),
    ("queue", "/offer_new_per_second", "queue: offers, new", "/s", "≥ 50,000"),
    ("queue", "/offer_coalesced_per_second", "queue: offers, coalesced", "/s", "≥ 130,000"),
    ("stack", "/events_per_second", "whole stack: events", "/s", "≥ 12,000"),
    ("backlog", "/seconds", "whole stack: backlog of 500,000 events", "s", "≤ 42"),
    ("freshness", "/steps/1/delay/p50_ms", "change to search at half load, p50", "ms", "≤ 80"),
    ("freshness", "/steps/1/delay/p99_ms", "change to search at half load, p99", "ms", "≤ 400"),
    ("hot", "/hot_row_p99_ratio", "others' p99 beside a row with 10 % of events", "×", "≤ 2"),
    ("hot", "/slow_line_p99_ratio", "others' p99 beside a line ten times slower", "×", ""),
    ("isolation", "/hot_row/p99_ratio", "the same in one process on embedded stores: hot row", "×", "≤ 2"),
    ("isolation", "/slow_line/p99_ratio", "… a line ten times slower", "×", "≤ 2"),
    ("isolation", "/dead_sink/p99_ratio", "… a dead sink", "×", "≤ 2"),
    ("isolation", "/stopped_partition/p99_ratio", "… a stopped partition", "×", "≤ 2"),
    ("recover", "/lives/0/first_acknowledged_seconds", "kill -9 to first acknowledged event", "s", "≤ 5"),
    ("rebuild", "/jobs_per_second", "rebuild beside live changes: rows whose document is asked for", "/s", ""),
    ("peers", "/of_go", "whole stack beside the Go design: events/s", "×", "≥ 4"),
    ("flink", "/flink_cpu_of_ours", "Flink SQL's CPU for the same merge, of ours", "×", "≥ 4"),
    ("flink", "/events_of_flink", "the same merge beside Flink SQL: events/s", "×", ""),
];

/// Runs whose figures the chart shows.
const CHARTED: &[&str] = &["peers", "stack", "freshness"];

/// Writes both from `bench-results/`.
pub fn write() {
    let page = std::fs::read_to_string(PAGE).unwrap_or_else(|e| panic!("{PAGE}: {e}"));
    let (before, rest) = page.split_once(BEGIN).unwrap_or_else(|| panic!("{PAGE} has no line {BEGIN}"));
    let (former, after) = rest.split_once(END).unwrap_or_else(|| panic!("{PAGE} has no line {END}"));
    let table = table(former);
    say(&table);
    std::fs::write(PAGE, format!("{before}{BEGIN}{table}{END}{after}")).unwrap_or_else(|e| panic!("{PAGE}: {e}"));
    // Its bars are of one build, or of none.
    if CHARTED.iter().all(|name| result(name).is_some()) {
        std::fs::write(CHART, chart()).unwrap_or_else(|e| panic!("{CHART}: {e}"));
        return say(format!("written: {PAGE}, {CHART}"));
    }
    say(format!("written: {PAGE}; {CHART} stays as it is until {} have run", CHARTED.join(", ")));
}

fn result(name: &str) -> Option<Value> {
    let path = Path::new("bench-results").join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

/// The round whose rate is the median: one that was disturbed speaks for no side.
fn middle(rounds: &Value) -> Option<&Value> {
    let mut rounds: Vec<&Value> = rounds.as_array()?.iter().collect();
    rounds.sort_by(|a, b| {
        a["events_per_second"].as_f64().unwrap_or(0.0).total_cmp(&b["events_per_second"].as_f64().unwrap_or(0.0))
    });
    rounds.get(rounds.len() / 2).copied()
}

/// The former line that begins like this; empty where there was none.
fn kept<'a>(former: &'a str, beginning: &str) -> &'a str {
    former.lines().find(|line| line.starts_with(beginning)).unwrap_or_default()
}

fn table(former: &str) -> String {
    let mut out = String::from("\n| what | figure | goal | command | calibration |\n|---|---|---|---|---|\n");
    for (name, at, what, unit, goal) in FIGURES {
        let found = result(name);
        let held = kept(former, &format!("| {what} |"));
        if found.is_none() && !held.is_empty() {
            let _ = writeln!(out, "{held}");
            continue;
        }
        let figure = found.as_ref().and_then(|found| found.pointer(at)?.as_f64());
        let figure = figure.map_or_else(|| "not measured".to_owned(), |figure| format!("{} {unit}", shown(figure)));
        let speed = found.and_then(|found| found["calibration_ns"].as_f64());
        let speed = speed.map_or_else(String::new, |ns| format!("{} ns", shown(ns)));
        let command = name.strip_prefix("sinks").map_or(*name, |_| "sinks");
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| {what} | {figure} | {goal} | `./dev bench {command}` | {speed} |");
    }
    for (name, title) in [("stack", "the whole stack"), ("peers", "the Go design")] {
        let Some(found) = result(name) else {
            let _ = writeln!(out, "\n{}", kept(former, &format!("CPU of {title} ")));
            continue;
        };
        let rounds = if name == "peers" { &found["go"] } else { &found["rounds"] };
        let Some(split) = middle(rounds).and_then(|round| round["cpu_us_per_event"].as_object()) else { continue };
        let parts: Vec<String> = split.iter().map(|(name, us)| format!("{name} {us}")).collect();
        let _ = writeln!(out, "\nCPU of {title} in µs an event: {}.", parts.join(", "));
    }
    if result("stack").is_none() {
        let _ = writeln!(out, "\n{}", kept(former, "Measured on "));
    }
    if let Some(system) = result("stack").and_then(|found| found.get("system").cloned()) {
        let named = |key: &str| system[key].as_str().unwrap_or("unknown").to_owned();
        let _ = writeln!(
            out,
            "\nMeasured on {}, {}, Redis {}, {}; widerow at {}.",
            named("kafka"),
            named("hbase"),
            named("redis"),
            named("search"),
            named("commit")
        );
    }
    out
}

/// Three digits that count, thousands apart.
fn shown(figure: f64) -> String {
    if figure < 100.0 {
        return format!("{figure:.2}");
    }
    let digits = format!("{figure:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bars, longest first as they are told, each group on a scale of its own.
fn chart() -> String {
    let mut groups: Vec<(&str, Vec<(String, f64)>)> = Vec::new();
    if let Some(peers) = result("peers") {
        let bars = [("widerow", "widerow_events_per_second"), ("Go and asynq", "go_events_per_second")];
        let bars = bars.map(|(name, key)| (name.to_owned(), peers[key].as_f64().unwrap_or(0.0)));
        groups.push(("events a second, whole stack", bars.into()));
    }
    if let Some(split) = result("stack").and_then(|found| middle(&found["rounds"])?["cpu_us_per_event"].as_object().cloned()) {
        let bars = split.into_iter().map(|(name, us)| (name, us.as_f64().unwrap_or(0.0))).collect();
        groups.push(("whole stack: CPU in µs an event", bars));
    }
    if let Some(fresh) = result("freshness") {
        let bar = |step: &Value, key: &str| {
            (format!("{} at {} %", &key[..3], step["share"]), step["delay"][key].as_f64().unwrap_or(0.0))
        };
        let steps = fresh["steps"].as_array().cloned().unwrap_or_default();
        let bars = steps.iter().flat_map(|step| [bar(step, "p50_ms"), bar(step, "p99_ms")]).collect();
        groups.push(("change to search in ms, by share of the full rate", bars));
    }
    drawn(&groups)
}

fn drawn(groups: &[(&str, Vec<(String, f64)>)]) -> String {
    let (mut body, mut y) = (String::new(), 10);
    for (title, bars) in groups {
        let top = bars.iter().map(|bar| bar.1).fold(f64::MIN_POSITIVE, f64::max);
        y += 24;
        let _ = writeln!(body, "<text x=\"10\" y=\"{y}\" font-weight=\"bold\">{title}</text>");
        for (name, figure) in bars {
            y += 20;
            let width = figure / top * 380.0;
            let _ = writeln!(body, "<text x=\"150\" y=\"{y}\" text-anchor=\"end\">{name}</text>");
            let _ = writeln!(body, "<rect x=\"160\" y=\"{}\" width=\"{width:.1}\" height=\"14\" fill=\"#3b6ea5\"/>", y - 11);
            let _ = writeln!(body, "<text x=\"{:.1}\" y=\"{y}\">{}</text>", 166.0 + width, shown(*figure));
        }
        y += 12;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"640\" height=\"{}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n",
        y + 10
    )
}

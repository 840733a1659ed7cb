//! The admin endpoint of a real node: every address, problems, who may do what, what operators change, the page.
//!
//! Method: the real binary runs on embedded parts in a folder of its own; requests are written to its socket as text, or
//! sent with the command line's own client.

use crate::world::{PATIENCE, Ran, SHOP, Shop, Site, event, finished, run, signal, until};
use actix::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use widerow::admin::answers::{Code, DocumentAnswer, LettersAnswer, Office, Released, RowAnswer, WhyAnswer};
use widerow::admin::client::{ADDRESS_FILE, Client, path};
use widerow::admin::desk::RunAnswer;
use widerow::admin::server::{self, Wires};
use widerow::messages::control::{Command, CommandError, LookAround, Picture};

/// Never in any answer.
const CANARY: &str = "canary-4711-of-the-token";

/// An order whose status its declared type cannot hold: a dead letter.
const LETTER: &str = "shop.trade.orders/7/0";

fn records() -> String {
    let mut shop = Shop::new(2);
    for order in 0..3 {
        shop.put("orders", order, json!({ "order_no": format!("n{order}"), "status": order, "note": "x" }));
        shop.put("order_item", order, json!({ "order_no": format!("n{order}"), "qty": 2 }));
    }
    let body = json!({ "database": "trade", "table": "orders", "type": "insert", "ts": 1, "xid": 1, "commit": true,
                       "data": { "id": 900, "order_no": "n900", "status": "abc" } });
    shop.lines.push(event("shop.trade.orders", 7, 0, &body.to_string()));
    shop.text()
}

/// A running node; it is killed if the test ends before it.
struct Node {
    site: Site,
    child: Option<Child>,
    url: String,
}

impl Node {
    fn start(config: &str) -> Self {
        Self::on(Site::new(config, &records()))
    }

    /// Starts on a folder, and waits until every record has become what it becomes.
    fn on(site: Site) -> Self {
        let mut node = Self { child: Some(site.spawn(&[])), site, url: String::new() };
        let left = node.site.path("data").join(ADDRESS_FILE);
        node.url = run(until("the node leaves its address", async || {
            let text = std::fs::read_to_string(&left).ok()?;
            text.ends_with('\n').then(|| text.trim().to_owned())
        }));
        run(until("the node is ready and its records are read", async || {
            let partitions: Value = serde_json::from_str(&node.get("/api/v1/partitions").body).ok()?;
            let partitions = partitions["partitions"].as_array()?;
            let done = |p: &Value| p["ended"] == true && p["open_tickets"] == 0;
            let lanes: Value = serde_json::from_str(&node.get("/api/v1/lanes").body).ok()?;
            let idle = |l: &Value| l["waiting"] == 0 && l["active"] == 0 && l["retry"] == 0;
            let ready = node.get("/readyz").status == 200;
            (ready && !partitions.is_empty() && partitions.iter().all(done) && lanes["lanes"].as_array()?.iter().all(idle))
                .then_some(())
        }));
        node
    }

    fn client(&self, token: Option<&str>) -> Client {
        Client::find(None, Some(&self.site.path("data")), token).unwrap().expect("a node runs on this folder")
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[("Content-Type", "application/json")], body)
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let host = self.url.strip_prefix("http://").unwrap();
        let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "Host") {
            text.push_str(&format!("Host: {host}\r\n"));
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // A body past the cap is refused before it is read to its end.
        let _ = write!(stream, "{text}\r\n{body}");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Answer::of(&String::from_utf8_lossy(&answer))
    }

    /// Ends the node as an operator does; its log.
    fn stop(mut self) -> (Site, String) {
        let child = self.child.take().unwrap();
        signal(child.id(), "TERM");
        let output = finished(child, "the node after TERM");
        let log = std::fs::read_to_string(self.site.path("log.txt")).unwrap();
        assert_eq!(output.status.code(), Some(0), "{log}");
        assert!(!self.site.path("data").join(ADDRESS_FILE).exists(), "the address is left behind");
        let site = std::mem::replace(&mut self.site, Site::new("", ""));
        (site, log)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Ended already is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|s| s.parse().ok()).unwrap_or(0);
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let headers: BTreeMap<_, _> = lines.filter_map(header).collect();
        Self { status, headers, body: body.to_owned() }
    }

    fn kind(&self) -> &str {
        self.headers.get("content-type").map_or("", |kind| kind.split(';').next().unwrap_or(kind))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The problem's code; it must be a whole problem.
    fn code(&self) -> String {
        assert_eq!(self.kind(), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{self:?}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{self:?}");
        problem["code"].as_str().unwrap().to_owned()
    }
}

/// Fills the parts of an address of `openapi.json`.
fn filled(path: &str, run: &str) -> String {
    let id = if path.contains("dead-letters") {
        LETTER
    } else if path.contains("actors") {
        "writer:0"
    } else if path.contains("runs") {
        run
    } else {
        "n1"
    };
    [
        ("{kind}", "order"),
        ("{key}", "n1"),
        ("{line}", "orders"),
        ("{topic}", "shop.trade.orders"),
        ("{partition}", "0"),
        ("{id}", id),
    ]
    .into_iter()
    .fold(path.to_owned(), |path, (part, value)| path.replace(part, value))
}

/// Goal: `openapi.json` tells the truth: every address in it answers what it says. Method: fill in what this node has, ask
/// each, hold status and content type against the document.
#[test]
fn every_address_answers_as_described() {
    let node = Node::start(SHOP);
    let begun = node.post("/api/v1/lines/orders:rebuild", r#"{"dry":true}"#).json();
    let run = begun["id"].as_str().unwrap();
    let document = node.get("/openapi.json").json();
    let mut asked = 0;
    for (path, verbs) in document["paths"].as_object().unwrap() {
        for (verb, operation) in verbs.as_object().unwrap() {
            let (address, body) = match path.as_str() {
                "/api/v1/rows/{kind}:key" => (filled(path, run) + "?key=order_no%3Dn1", ""),
                "/api/v1/lines/{line}:skip-equal" => (filled(path, run), r#"{"on":true,"reason":"a test"}"#),
                _ => (filled(path, run), ""),
            };
            let answer = if verb == "get" { node.get(&address) } else { node.post(&address, body) };
            asked += 1;
            // What a node in this state must refuse, with what.
            let refusal = match path.as_str() {
                "/login" if verb == "post" => Some("unauthorized"),
                "/api/v1/dead-letters/{id}:replay" => Some("still_bad"),
                "/api/v1/epochs/{topic}:bump" => Some("no_such_source"),
                "/api/v1/runs/{id}:pause" | "/api/v1/runs/{id}:resume" | "/api/v1/runs/{id}:cancel" => Some("conflict"),
                _ => None,
            };
            match refusal {
                Some("unauthorized") => assert_eq!(answer.status, 401, "{verb} {path}"),
                // The run may not have ended yet; then the change is granted.
                Some("conflict") if answer.status == 200 => {}
                Some(code) => assert_eq!(answer.code(), code, "{verb} {path}"),
                None => {
                    assert_eq!(answer.status, 200, "{verb} {path}: {answer:?}");
                    let described = operation["responses"]["200"]["content"].as_object().unwrap();
                    assert_eq!(Some(answer.kind()), described.keys().next().map(String::as_str), "{verb} {path}");
                }
            }
            for header in ["content-security-policy", "x-content-type-options", "cache-control"] {
                assert!(answer.headers.contains_key(header), "{verb} {path} lacks {header}");
            }
        }
    }
    assert_eq!(asked, server::ROUTES.len());
    let page = node.get("/");
    assert!(!page.headers["content-security-policy"].contains("unsafe"), "{:?}", page.headers);
    node.stop();
}

/// Goal: whatever is wrong comes back as a problem that says what. Method: a table of requests and codes.
#[test]
fn wrong_requests_are_problems() {
    let node = Node::start(SHOP);
    let large = format!(r#"{{"reason":"{}"}}"#, "x".repeat(70_000));
    for (method, path, body, status, code) in [
        ("GET", "/nothing", "", 404, "no_such_route"),
        ("GET", "/api/v1/nothing", "", 404, "no_such_route"),
        ("POST", "/api/v1/lanes", "", 405, "method_not_allowed"),
        ("DELETE", "/api/v1/jobs:release", "", 405, "method_not_allowed"),
        ("GET", "/api/v1/rows/order/n1?colour=red", "", 400, "bad_request"),
        ("GET", "/api/v1/rows/nosuch/n1", "", 404, "no_such_kind"),
        ("GET", "/api/v1/rows/order/n77", "", 404, "no_such_row"),
        ("GET", "/api/v1/rows/order:key?key=colour=red", "", 400, "bad_request"),
        ("GET", "/api/v1/documents/orders/n77", "", 404, "no_such_document"),
        ("GET", "/api/v1/documents/nosuch", "", 404, "no_such_line"),
        ("GET", "/api/v1/jobs?state=asleep", "", 400, "bad_request"),
        ("GET", "/api/v1/jobs?max=many", "", 400, "bad_request"),
        ("GET", "/api/v1/dead-letters/a/0/0", "", 404, "no_such_dead_letter"),
        ("GET", "/api/v1/runs/rebuild-9", "", 404, "no_such_run"),
        ("GET", "/api/v1/actors?kind=plumber", "", 400, "bad_request"),
        ("POST", "/api/v1/actors/plumber:0:restart", "", 404, "no_such_actor"),
        ("POST", "/api/v1/partitions/nosuch/0:pause", "", 404, "no_such_partition"),
        ("POST", "/api/v1/partitions/shop.trade.orders/x:pause", "", 400, "bad_request"),
        ("POST", "/api/v1/lines/orders:rebuild", r#"{"rate":"0"}"#, 400, "bad_request"),
        ("POST", "/api/v1/lines/orders:rebuild", "[1]", 400, "bad_request"),
        ("POST", "/api/v1/lines/orders:rebuild", r#"{"from":{"a":1}}"#, 400, "bad_request"),
        ("POST", "/api/v1/lines/orders:rebuild", large.as_str(), 413, "too_large"),
        ("POST", "/api/v1/lines/orders:skip-equal", "{}", 400, "bad_request"),
        ("POST", "/api/v1/jobs:release", r#"{"state":"active"}"#, 400, "bad_request"),
    ] {
        let answer = node.ask(method, path, &[], body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}");
    }
    let wrong_method = node.ask("POST", "/api/v1/lanes", &[], "");
    assert_eq!(wrong_method.headers["allow"], "GET, HEAD");
    for headers in [[("Host", "evil.example")], [("Origin", "http://evil.example")], [("Sec-Fetch-Site", "cross-site")]] {
        let answer = node.ask("POST", "/api/v1/jobs:release", &headers, "");
        assert_eq!((answer.status, answer.code().as_str()), (403, "foreign_origin"), "{headers:?}");
    }
    node.stop();
}

/// Goal: with a token nothing changes without it, and it is never told. Method: every changing address of the table without
/// it, with a wrong one, and with it; then look for it in every answer and in the log.
#[test]
fn the_token_guards_every_change() {
    let config = SHOP.replace("listen: \"127.0.0.1:0\"", "listen: \"127.0.0.1:0\", token: \"secret://file/token\"");
    let site = Site::new(&config, &records());
    std::fs::write(site.path("token"), CANARY).unwrap();
    let node = Node::on(site);
    let (right, wrong) = (format!("Bearer {CANARY}"), format!("Bearer {}", &CANARY[1..]));
    let mut seen = String::new();
    let mut refused = 0;
    for route in server::ROUTES {
        let path = filled(&route.path.replace(":.+", ""), "rebuild-1");
        if route.verb == server::Verb::Get {
            let answer = node.get(&path);
            assert_ne!(answer.status, 401, "reading {path} on this machine");
            seen.push_str(&format!("{answer:?}"));
            continue;
        }
        for headers in [vec![], vec![("Authorization", wrong.as_str())]] {
            let answer = node.ask("POST", &path, &headers, "");
            assert_eq!(answer.status, 401, "{path} {headers:?}");
            seen.push_str(&format!("{answer:?}"));
            refused += 1;
        }
        let answer = node.ask("POST", &path, &[("Authorization", &right)], "");
        if route.access == server::Access::Change {
            assert_ne!(answer.status, 401, "{path} with the token");
        }
        seen.push_str(&format!("{answer:?}"));
    }
    assert!(refused >= 20, "only {refused} changing calls were tried");
    let signed_in =
        node.ask("POST", "/login", &[("Content-Type", "application/x-www-form-urlencoded")], &format!("token={CANARY}"));
    assert_eq!(signed_in.status, 303, "{signed_in:?}");
    let cookie = signed_in.headers["set-cookie"].split(';').next().unwrap().to_owned();
    assert_eq!(node.ask("POST", "/api/v1/jobs:release", &[("Cookie", &cookie)], "").status, 200);
    assert_eq!(node.ask("POST", "/api/v1/jobs:release", &[("Cookie", "widerow_session=guess")], "").status, 401);
    let released: Released = node.client(Some(CANARY)).post("/api/v1/jobs:release", &json!({})).unwrap();
    assert_eq!(released.released, 0);
    assert!(node.client(None).post::<Value>("/api/v1/jobs:release", &json!({})).unwrap_err().is(Code::Unauthorized));
    seen.push_str(&format!("{signed_in:?}"));
    let (_, log) = node.stop();
    assert!(!seen.contains(CANARY), "an answer tells the token");
    assert!(!log.contains(CANARY), "the log tells the token");
}

/// Goal: a taken port is told with what to do. Method: a second node on the first one's address.
#[test]
fn a_port_in_use_is_told() {
    let node = Node::start(SHOP);
    let port = node.url.rsplit_once(':').unwrap().1;
    let second = Site::new(&SHOP.replace("127.0.0.1:0", &format!("127.0.0.1:{port}")), &records());
    let Ran { code, log, .. } = second.run(&[], None);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains(port) && log.contains("listens there") && log.contains("admin.listen"), "{log}");
    assert_eq!(node.get("/livez").status, 200, "the first node lives on");
    // A dry run has no endpoint, so it runs beside the node.
    let dry = second.run(&["--dry-run"], None);
    assert_eq!(dry.code, Some(0), "{}", dry.log);
    node.stop();
}

/// Goal: what operators ask for happens, is shown, and stands in the audit log. Method: pause and resume a partition, rebuild,
/// purge, restart, and replay a letter that passes once its column is declared otherwise.
#[test]
fn operators_change_things() {
    let node = Node::start(SHOP);
    let client = node.client(None);
    let partition = |client: &Client| {
        let all: Value = client.get("/api/v1/partitions").unwrap();
        let all = all["partitions"].as_array().unwrap().clone();
        all.into_iter().find(|p| p["id"] == "partition:shop.trade.orders:0").unwrap()
    };
    let pause = path(&["partitions", "shop.trade.orders", "0:pause"], &[]);
    client.post::<Value>(&pause, &json!({ "reason": "the canal is cleaned" })).unwrap();
    let paused = run(until("the partition rests", async || Some(partition(&client)).filter(|p| p["paused"].is_string())));
    assert_eq!(paused["paused"], "the canal is cleaned");
    client.post::<Value>(&pause.replace(":pause", ":resume"), &json!({})).unwrap();
    run(until("it goes on", async || Some(partition(&client)).filter(|p| p["paused"].is_null())));

    let follow = |begun: RunAnswer| {
        let ended = async || {
            let answer: RunAnswer = client.get(&path(&["runs", &begun.id], &[])).unwrap();
            answer.ended.is_some().then_some(answer)
        };
        run(until("the run ends", ended))
    };
    let rebuilt =
        follow(client.post("/api/v1/lines/orders:rebuild", &json!({ "from": "n1", "reason": "a new mapping" })).unwrap());
    assert_eq!((rebuilt.state.as_str(), rebuilt.rows, rebuilt.done, rebuilt.reason.as_str()), ("done", 2, 2, "a new mapping"));
    let dry = follow(client.post("/api/v1/lines/orders:rebuild", &json!({ "dry": true })).unwrap());
    assert_eq!((dry.state.as_str(), dry.rows, dry.dry), ("done", 3, true));
    let purged = follow(client.post("/api/v1/rows/order:purge", &json!({})).unwrap());
    assert_eq!((purged.state.as_str(), purged.rows, purged.cells), ("done", 3, 0));

    client.post::<Value>("/api/v1/actors/writer:0:restart", &json!({ "reason": "it looked tired" })).unwrap();
    run(until("the exit is shown", async || {
        let picture: Value = client.get("/api/v1/actors").unwrap();
        picture["exits"].as_array().unwrap().iter().any(|exit| exit["actor"] == "writer:0").then_some(())
    }));

    let letters: LettersAnswer = client.get("/api/v1/dead-letters").unwrap();
    assert_eq!((letters.total, letters.dead_letters[0].id.as_str()), (1, LETTER));
    let replay = path(&["dead-letters", &format!("{LETTER}:replay")], &[]);
    assert!(client.post::<Value>(&replay, &json!({})).unwrap_err().is(Code::StillBad));
    let (site, log) = node.stop();
    for told in ["the canal is cleaned", "a new mapping", "it looked tired", "by the admin endpoint"] {
        assert!(log.lines().any(|line| line.contains("\"audit\"") && line.contains(told)), "no audit of `{told}`\n{log}");
    }

    std::fs::write(site.path("config.yaml"), SHOP.replace("status: long", "status: string")).unwrap();
    let node = Node::on(site);
    let client = node.client(None);
    client.post::<Value>(&replay, &json!({ "reason": "declared as text" })).unwrap();
    let document = run(until("the replayed order's document", async || {
        client.get::<DocumentAnswer>(&path(&["documents", "orders", "n900"], &[])).ok()
    }));
    assert!(document.document.unwrap().get().contains("\"abc\""));
    assert_eq!(client.get::<LettersAnswer>("/api/v1/dead-letters").unwrap().total, 0, "the letter is gone");
    node.stop();
}

/// Goal: a row's life is told, and the page shows the same numbers as the API. Method: ask for row, why and page of one row.
#[test]
fn one_row_in_api_and_page() {
    let node = Node::start(SHOP);
    let client = node.client(None);
    let row: RowAnswer = client.get("/api/v1/rows/order/n1").unwrap();
    let why: WhyAnswer = client.get("/api/v1/rows/order/n1/why").unwrap();
    assert!(row.alive && row.tables.len() == 2, "{row:?}");
    assert_eq!(row, why.row);
    assert_eq!(why.lines[0].agreement.label(), "up_to_date");
    assert_eq!(why.lines[0].sink.version.as_ref(), Some(&row.version));
    assert!(why.entity.is_some(), "the row was just written");
    let page = node.get("/?kind=order&key=n1").body;
    let totals: Value = client.get("/api/v1/totals").unwrap();
    assert_eq!(totals["totals"]["records"], 7);
    for shown in [
        "up_to_date",
        &format!("{} <span class=\"quiet\">weight", row.version),
        "7 <span>records",
        "writer:0",
        LETTER,
        "/page/widerow.js",
    ] {
        assert!(page.contains(shown), "the page lacks `{shown}`");
    }
    assert!(!page.contains("<script>") && !page.contains("style=\"") && !page.contains("http://"), "inline or foreign content");
    assert!(node.get("/page/live").body.contains("7 <span>records"));
    assert!(node.get("/?kind=order&key=n77").body.contains("nothing was ever written to row order/n77"));
    assert!(node.get("/metrics").body.contains("widerow_events_received_total"));
    node.stop();
}

/// A supervisor that is gone.
struct Gone;
impl Actor for Gone {
    type Context = Context<Self>;
}
impl Handler<LookAround> for Gone {
    type Result = Picture;
    fn handle(&mut self, _: LookAround, _: &mut Self::Context) -> Picture {
        unreachable!("it has stopped")
    }
}
impl Handler<Command> for Gone {
    type Result = Result<(), CommandError>;
    fn handle(&mut self, _: Command, _: &mut Self::Context) -> Self::Result {
        unreachable!("it has stopped")
    }
}
impl Handler<Stop> for Gone {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
#[derive(Message)]
#[rtype(result = "()")]
struct Stop;

/// Goal: a dead engine does not take the endpoint along: it says so, and still shows the stores. Method: an endpoint whose
/// supervisor has stopped, on memory parts, in this process.
#[test]
fn a_dead_engine_is_told() {
    run(async {
        let world = crate::world::World::new(SHOP, "", |_| {});
        let (settings, gone) = (Arc::new(world.settings.clone()), Gone.start());
        gone.send(Stop).await.unwrap();
        let doors = widerow::ports::Doors {
            rows: world.rows.clone(),
            queue: Arc::new(world.queue.clone()),
            ledger: world.ledger.clone(),
            sinks: Default::default(),
        };
        let office = Office::new(settings, doors, widerow::supervisor::wiring::clock);
        let metrics = widerow::telemetry::install().expect("the one recorder of this process");
        let wires =
            Wires { look: gone.clone().recipient(), command: gone.recipient(), metrics, totals: Arc::clone(&world.totals) };
        let server = server::start(office, wires).unwrap();
        let node = Node { site: Site::new("", ""), child: None, url: server.url() };
        for path in ["/livez", "/readyz", "/health", "/api/v1/actors"] {
            assert_eq!((node.get(path).status, node.get(path).code().as_str()), (503, "not_ready"), "{path}");
        }
        for path in ["/api/v1/lanes", "/api/v1/dead-letters", "/metrics", "/openapi.json"] {
            assert_eq!(node.get(path).status, 200, "{path}");
        }
        // Without a delivering node there is no switch to turn.
        let switch = node.post("/api/v1/lines/orders:skip-equal", r#"{"on":false}"#);
        assert_eq!(switch.code(), "conflict");
        let left: &Path = &world.settings.node.data_dir.join(ADDRESS_FILE);
        assert_eq!(std::fs::read_to_string(left).unwrap().trim(), server.url());
        drop(server);
        assert!(!left.exists());
        assert!(TcpStream::connect(node.url.strip_prefix("http://").unwrap()).is_err(), "the port is free again");
    });
}

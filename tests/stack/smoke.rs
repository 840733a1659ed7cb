//! Goal: a test that asks for a server gets a real one, and what the handle promises holds. Method: use each kind
//! through its own client, kill it, start it again on the same data.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::servers::{self, Kind, Server};

/// Goal: what Redis has acknowledged outlives SIGKILL. Method: set, kill, start again, get.
#[tokio::test]
async fn redis_keeps_what_it_acknowledged() {
    let server = servers::redis();
    let mut connection = redis_of(&server).await;
    let set: String = redis::cmd("SET").arg("order:1").arg("paid").query_async(&mut connection).await.unwrap();
    assert_eq!(set, "OK");
    // The log is written before the reply; only a power cut could take a second of it.
    server.kill();
    let refused: Result<String, _> = redis::cmd("GET").arg("order:1").query_async(&mut connection).await;
    assert!(refused.is_err(), "a killed server answered {refused:?}");
    server.start_again();
    let mut connection = redis_of(&server).await;
    let got: String = redis::cmd("GET").arg("order:1").query_async(&mut connection).await.unwrap();
    assert_eq!(got, "paid");
}

/// Goal: a frozen server is there and silent; thawed, it goes on. Method: ask under a time limit, thaw, read the answer.
#[tokio::test]
async fn a_frozen_server_answers_once_it_is_thawed() {
    let server = servers::redis();
    let mut connection = redis_of(&server).await;
    server.freeze();
    let ping = redis::cmd("PING");
    {
        let answer = ping.query_async::<String>(&mut connection);
        tokio::pin!(answer);
        assert!(tokio::time::timeout(Duration::from_millis(200), &mut answer).await.is_err(), "frozen, yet it answered");
        server.thaw();
        assert_eq!(answer.await.unwrap(), "PONG");
    }
    server.freeze();
    // Stopping must reach a frozen one too.
    server.stop();
    server.start_again();
    let mut connection = redis_of(&server).await;
    assert_eq!(ping.query_async::<String>(&mut connection).await.unwrap(), "PONG");
}

/// Goal: the shared server is one. Method: write through one handle, read through another.
#[tokio::test]
async fn the_shared_server_is_one() {
    let first = servers::shared(Kind::Redis);
    let second = servers::shared(Kind::Redis);
    assert_eq!(first.address(), second.address());
    let mut connection = redis_of(second).await;
    let count: i64 = redis::cmd("INCR").arg("the_shared_server_is_one").query_async(&mut connection).await.unwrap();
    assert_eq!(count, 1);
}

/// Goal: dropped, nothing is left. Method: drop, then look for folder and port.
#[test]
fn a_dropped_server_leaves_nothing() {
    let server = servers::redis();
    let (folder, address) = (server.folder().to_owned(), server.address());
    assert!(folder.join("redis.log").exists());
    drop(server);
    assert!(!folder.exists(), "{} is still there", folder.display());
    assert!(TcpStream::connect(&address).is_err(), "{address} still answers");
}

/// Goal: a test process that dies takes its servers along. Method: run this very test in a process of its own, where it
/// starts a server and waits; connect to that server, kill the process, and see the connection end.
#[test]
fn a_killed_test_process_leaves_no_server() {
    const VICTIM: &str = "WIDEROW_STACK_VICTIM";
    if std::env::var_os(VICTIM).is_some() {
        let server = servers::redis();
        writeln!(io::stdout(), "\nserver {}", server.address()).unwrap();
        let _ = io::stdin().read_line(&mut String::new());
        return;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "smoke::a_killed_test_process_leaves_no_server", "--nocapture"])
        .env(VICTIM, "yes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
    let told = told.filter_map(|line| line.strip_prefix("server ").map(str::to_owned)).next();
    let address = told.expect("the other process told of no server");
    let mut connection = TcpStream::connect(&address).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    victim.kill().unwrap();
    victim.wait().unwrap();
    // The end of the connection, orderly or not; anything else means that the server lives.
    let end = connection.read(&mut [0; 16]);
    let ended = end.as_ref().is_ok_and(|n| *n == 0) || end.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::ConnectionReset);
    assert!(ended, "{address}: {end:?}");
}

/// Goal: records outlive SIGKILL, and a topic is there only once it is created. Method: produce, kill, start again, consume.
#[tokio::test]
async fn kafka_keeps_its_records() {
    let server = servers::kafka();
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", server.address());
    let admin: AdminClient<DefaultClientContext> = client.create().unwrap();
    let topic = NewTopic::new("shop.orders", 1, TopicReplication::Fixed(1));
    let made = admin.create_topics([&topic], &AdminOptions::new()).await.unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");

    let producer: FutureProducer = client.create().unwrap();
    for body in ["one", "two"] {
        let record = FutureRecord::to("shop.orders").key("1").payload(body);
        producer.send(record, Duration::from_secs(30)).await.map_err(|(error, _)| error).unwrap();
    }
    server.kill();
    server.start_again();

    let consumer: BaseConsumer = client.clone().set("group.id", "smoke").create().unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset("shop.orders", 0, Offset::Beginning).unwrap();
    consumer.assign(&from).unwrap();
    let mut bodies = Vec::new();
    while bodies.len() < 2 {
        let record = consumer.poll(Duration::from_secs(60)).expect("no record within a minute");
        // Errors of the connection to the killed broker come as events in between.
        if let Ok(record) = record {
            bodies.push((record.offset(), String::from_utf8_lossy(record.payload().unwrap_or_default()).into_owned()));
        }
    }
    assert_eq!(bodies, [(0, "one".to_owned()), (1, "two".to_owned())]);
}

/// Goal: documents outlive SIGKILL, external versions are kept to. Method: index, kill, start again, get, index an older one.
#[test]
fn search_keeps_documents_and_versions() {
    let server = servers::search();
    let document = |version: u64| format!("http://{}/orders/_doc/1?version={version}&version_type=external", server.address());
    let http: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let put = |version: u64, body: &str| {
        let request = http.put(document(version)).header("content-type", "application/json");
        request.send(body).unwrap().status().as_u16()
    };
    assert_eq!(put(7, r#"{"status":"paid"}"#), 201);
    server.kill();
    server.start_again();
    assert_eq!(put(6, r#"{"status":"new"}"#), 409);
    let mut answer = http.get(format!("http://{}/orders/_doc/1", server.address())).call().unwrap();
    let found: serde_json::Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!((&found["_version"], &found["_source"]["status"]), (&7.into(), &"paid".into()));
}

/// Goal: HBase comes back on its own data. Method: open its ports, kill, start again, and find the same cluster id.
#[test]
fn hbase_comes_back_on_its_data() {
    let server = servers::hbase();
    let cluster = || std::fs::read(server.folder().join("hbase/hbase.id")).unwrap();
    for address in server.addresses() {
        assert!(TcpStream::connect(&address).is_ok(), "{address} does not answer");
    }
    let id = cluster();
    server.kill();
    assert!(TcpStream::connect(server.address()).is_err(), "a killed server answers");
    server.start_again();
    assert_eq!(cluster(), id);
    assert!(TcpStream::connect(&server.addresses()[1]).is_ok());
}

/// Goal: rows outlive SIGKILL, and the server writes what a change reader needs. Method: insert, kill, start again, select.
#[test]
fn mariadb_keeps_rows_and_tells_them_in_full() {
    let server = servers::mariadb();
    let sql = |statement: &str| server.script("sql", &["-e", statement]);
    sql("create database shop; create table shop.orders (id bigint primary key, amount decimal(18,2))");
    sql("insert into shop.orders values (1, 8.80)");
    server.kill();
    server.start_again();
    assert_eq!(sql("select * from shop.orders"), "1\t8.80\n");
    assert_eq!(sql("select @@log_bin, @@binlog_format, @@binlog_row_image, @@time_zone"), "1\tROW\tFULL\t+00:00\n");
}

async fn redis_of(server: &Server) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(format!("redis://{}/", server.address())).unwrap();
    // The client's own limit is half a second; a frozen server takes longer.
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

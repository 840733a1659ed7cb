//! One socket against a scripted other end, over memory and with a paused clock.

use super::*;
use crate::io::hbase::pb;
use tokio::io::{DuplexStream, ReadHalf as Half, WriteHalf as OtherHalf, duplex, split};

const SECOND: Duration = Duration::from_secs(1);

/// The server's end: reads requests, answers what a test wants.
struct Server {
    reader: FrameReader<Half<DuplexStream>>,
    writer: OtherHalf<DuplexStream>,
}

impl Server {
    async fn request(&mut self) -> frame::Request {
        frame::split_request(self.reader.next().await.unwrap().unwrap()).unwrap()
    }
    async fn send(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).await.unwrap();
    }
    async fn reply(&mut self, call_id: u32, text: &str) {
        let header = pb::ResponseHeader { call_id: Some(call_id), ..Default::default() };
        let message = pb::GetClusterIdResponse { cluster_id: Some(text.into()) };
        self.send(&frame::encode(&header, &message, [])).await;
    }
}

fn pair() -> (Connection, Server) {
    let (ours, theirs) = duplex(1 << 16);
    let (reader, writer) = split(ours);
    let address = Address { host: "rs".into(), port: 1 };
    let connection = Connection::over(address, FrameReader::new(reader, 1000), writer, SECOND);
    let (reader, writer) = split(theirs);
    (connection, Server { reader: FrameReader::new(reader, 1000), writer })
}

async fn ask(connection: &Connection) -> Result<String, Error> {
    let reply = connection.call("GetClusterId", &pb::Empty {}, [], SECOND).await?;
    Ok(pb::GetClusterIdResponse::decode(reply.message).unwrap().cluster_id.unwrap())
}

/// Goal: answers find their calls in any order. Method: three calls, answered last first.
#[tokio::test(start_paused = true)]
async fn answers_come_in_any_order() {
    let (connection, mut server) = pair();
    let serve = async {
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(server.request().await.header.call_id.unwrap());
        }
        for id in ids.into_iter().rev() {
            server.reply(id, &id.to_string()).await;
        }
        server
    };
    let (a, b, c, _server) = tokio::join!(ask(&connection), ask(&connection), ask(&connection), serve);
    assert_eq!([a.unwrap(), b.unwrap(), c.unwrap()], ["0", "1", "2"]);
    assert_eq!((connection.in_flight(), connection.is_dead()), (0, false));
}

/// Goal: an exception concerns its call alone; one without a call concerns the socket. Method: one of each.
#[tokio::test(start_paused = true)]
async fn exceptions_have_an_addressee() {
    let (connection, mut server) = pair();
    let exception = |call_id, name: &str| {
        let exception = pb::ExceptionResponse { exception_class_name: Some(name.into()), ..Default::default() };
        frame::encode_header(&pb::ResponseHeader { call_id: Some(call_id), exception: Some(exception), cell_block_meta: None })
    };
    let serve = async {
        let id = server.request().await.header.call_id.unwrap();
        server.send(&exception(id, "x.RegionOpeningException")).await;
        server
    };
    let (answer, mut server) = tokio::join!(ask(&connection), serve);
    let error = answer.unwrap_err();
    assert_eq!((error.class, error.outcome_unknown, &*error.place), (Class::Opening, false, "GetClusterId on rs:1"));
    assert!(!connection.is_dead());
    let serve = async {
        server.request().await;
        server.send(&exception(frame::CONNECTION_CALL_ID, "x.UnknownServiceException")).await;
        server
    };
    let (answer, _server) = tokio::join!(ask(&connection), serve);
    assert_eq!(answer.unwrap_err().class, Class::Handshake);
    assert_eq!(ask(&connection).await.unwrap_err().class, Class::Handshake);
}

/// Goal: a broken socket fails every call in flight with an unknown outcome, and later ones at once. Method: the ways to break.
#[tokio::test(start_paused = true)]
async fn a_broken_socket_fails_all_its_calls() {
    let mut torn = 100u32.to_be_bytes().to_vec();
    torn.push(1);
    let mut nonsense = 5u32.to_be_bytes().to_vec();
    nonsense.extend_from_slice(&[0xff; 5]);
    for (bytes, class) in
        [(vec![], Class::Lost), (torn, Class::Lost), (nonsense, Class::Garbled), (vec![0x7f; 8], Class::Garbled)]
    {
        let (connection, mut server) = pair();
        let serve = async {
            server.request().await;
            server.request().await;
            server.send(&bytes).await;
            drop(server);
        };
        let (a, b, ()) = tokio::join!(ask(&connection), ask(&connection), serve);
        for error in [a.unwrap_err(), b.unwrap_err()] {
            assert_eq!((error.class, error.outcome_unknown), (class, true), "{bytes:?}");
        }
        let later = ask(&connection).await.unwrap_err();
        assert_eq!((later.class, later.outcome_unknown), (class, false));
    }
}

/// Goal: a call that the server dropped ends by its own timer, and the socket lives while others are answered; a server that
/// says nothing at all loses its socket. Method: one call answered and one not, then none.
#[tokio::test(start_paused = true)]
async fn silence_ends_by_the_clock() {
    let (connection, mut server) = pair();
    let serve = async {
        let id = server.request().await.header.call_id.unwrap();
        server.request().await;
        server.reply(id, "here").await;
        server
    };
    let (a, b, mut server) = tokio::join!(ask(&connection), ask(&connection), serve);
    assert_eq!(a.unwrap(), "here");
    let error = b.unwrap_err();
    assert_eq!((error.class, error.outcome_unknown, connection.is_dead()), (Class::Timeout, true, false));
    // An answer that comes after its timer is nobody's.
    server.reply(1, "late").await;
    while connection.shared.heard.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    let (answer, _) = tokio::join!(ask(&connection), server.request());
    assert_eq!(answer.unwrap_err().class, Class::Timeout);
    assert!(connection.is_dead(), "nothing came since the call");
    assert_eq!(ask(&connection).await.unwrap_err().class, Class::Lost);
}

/// Goal: a call with little time left does not condemn the socket for others. Method: a short call beside one that is answered.
#[tokio::test(start_paused = true)]
async fn a_short_call_proves_nothing() {
    let (connection, mut server) = pair();
    let serve = async {
        let id = server.request().await.header.call_id.unwrap();
        server.request().await;
        tokio::time::sleep(SECOND / 2).await;
        server.reply(id, "here").await;
        server
    };
    let short = connection.call("GetClusterId", &pb::Empty {}, [], SECOND / 4);
    let (long, short, _server) = tokio::join!(ask(&connection), short, serve);
    assert_eq!((long.unwrap(), short.unwrap_err().class), ("here".to_owned(), Class::Timeout));
    assert!(!connection.is_dead());
}

/// Goal: a server that takes no bytes does not hold a caller. Method: a call larger than the pipe.
#[tokio::test(start_paused = true)]
async fn a_full_pipe_ends_by_the_clock() {
    let (connection, server) = pair();
    let cells = vec![0u8; 1 << 20];
    let errors = futures_util::future::join_all(
        (0..OUTBOX_FRAMES + 2).map(|_| connection.call("Multi", &pb::Empty {}, [&cells[..]], SECOND)),
    );
    for error in errors.await.into_iter().map(Result::unwrap_err) {
        assert!(matches!(error.class, Class::Timeout | Class::Lost), "{error}");
    }
    assert!(connection.is_dead());
    drop(server);
}

/// Goal: a caller that goes away leaves nothing behind. Method: drop a call that waits, then answer it.
#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_forgotten() {
    let (connection, mut server) = pair();
    {
        let call = ask(&connection);
        tokio::pin!(call);
        let id = tokio::select! {
            _ = &mut call => panic!("nobody answered"),
            request = server.request() => request.header.call_id.unwrap(),
        };
        assert_eq!((id, connection.in_flight()), (0, 1));
    }
    assert_eq!(connection.in_flight(), 0);
    server.reply(0, "nobody").await;
    let serve = async {
        let id = server.request().await.header.call_id.unwrap();
        server.reply(id, "you").await;
        server
    };
    let (answer, mut server) = tokio::join!(ask(&connection), serve);
    assert_eq!(answer.unwrap(), "you");
    // The last handle closes the socket.
    drop(connection);
    assert_eq!(server.writer.write_all(b"x").await.is_ok() as usize + server.reader_rest().await, 1);
}

impl Server {
    /// Bytes until the end of the stream.
    async fn reader_rest(&mut self) -> usize {
        match self.reader.next().await {
            Ok(None) => 0,
            other => panic!("{other:?}"),
        }
    }
}

/// Goal: TLS that is refused is a fault to mend, a server that goes away during it is one to wait for. Method: servers that
/// speak no TLS, and that close.
#[cfg(feature = "hbase-tls")]
#[tokio::test]
async fn tls_faults_are_told_apart() {
    for (answer, class) in [(&b""[..], Class::Unreachable), (b"HTTP/1.1 400 Bad Request\r\n\r\n", Class::Handshake)] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
        let dial = Dial {
            user: "u".into(),
            connect_timeout: 10 * SECOND,
            silence_max: SECOND,
            frame_bytes_max: 1000,
            tls: Some(Tls::default()),
        };
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The whole greeting is read, so that closing is a close and no reset.
            let mut hello = [0; 5];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut hello).await.unwrap();
            let mut rest = vec![0; usize::from(u16::from_be_bytes([hello[3], hello[4]]))];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut rest).await.unwrap();
            stream.write_all(answer).await.unwrap();
        };
        let (opened, ()) = tokio::join!(Connection::open(&address, Service::Registry, &dial), serve);
        let error = opened.unwrap_err();
        assert_eq!(error.class, class, "{error}");
    }
}

//! Sockets: a listener per server, a task per call, answers in any order; and the faults that concern bytes.

use super::calls::{Answer, Place, answer};
use super::faults::{Dice, Facts, Fault};
use super::meta::full_name;
use super::world::{Fail, META_REGION, META_TABLE, Seen, World};
use bytes::Bytes;
use prost::Message;
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use widerow::io::hbase::frame::{CONNECTION_CALL_ID, FrameReader, Request, encode, encode_header, split_request};
use widerow::io::hbase::pb;

/// Longest frame read at all, in bytes.
const READ_MAX: usize = 256 << 20;
/// Answers that wait for a connection's socket; calls beyond wait in turn.
const ANSWERS_MAX: usize = 1024;

/// What all servers share.
pub struct Shared {
    pub world: Mutex<World>,
    /// Told whenever a call came or was answered.
    pub news: Notify,
}

impl Shared {
    pub fn lock(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(|e| e.into_inner())
    }
}

enum Out {
    Bytes(Bytes),
    Close,
}

/// Serves until the life ends; then every connection of this life is gone.
pub async fn serve(shared: Arc<Shared>, listener: TcpListener, server: Option<usize>, mut end: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = end.wait_for(|ended| *ended) => break,
            accepted = listener.accept() => {
                if let Ok((socket, _)) = accepted {
                    connections.spawn(connection(shared.clone(), socket, server));
                }
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    connections.shutdown().await;
}

async fn connection(shared: Arc<Shared>, socket: TcpStream, server: Option<usize>) {
    let _ = socket.set_nodelay(true);
    let (read, write) = socket.into_split();
    let (out, answers) = mpsc::channel(ANSWERS_MAX);
    tokio::select! {
        () = hear(shared, read, server, out.clone()) => {}
        () = say(write, answers) => {}
    }
}

async fn say(mut socket: OwnedWriteHalf, mut answers: mpsc::Receiver<Out>) {
    while let Some(Out::Bytes(bytes)) = answers.recv().await {
        if socket.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let _ = socket.shutdown().await;
}

async fn hear(shared: Arc<Shared>, socket: OwnedReadHalf, server: Option<usize>, out: mpsc::Sender<Out>) {
    let mut reader = FrameReader::new(socket, READ_MAX);
    let Ok(header) = reader.greeting().await else { return };
    let service = header.service_name.unwrap_or_default();
    let known: &[&str] = if server.is_some() {
        &["ClientService", "AdminService", "ClientMetaService"]
    } else {
        &["MasterService", "ClientMetaService"]
    };
    if !known.contains(&service.as_str()) {
        let _ = out.send(Out::Bytes(exception(CONNECTION_CALL_ID, &Fail::new("UnknownServiceException", &service)))).await;
        let _ = out.send(Out::Close).await;
        return std::future::pending().await;
    }
    let place = Place { server, service };
    let life = shared.lock().life(server);
    while let Ok(Some(frame)) = reader.next().await {
        let length = frame.len();
        let Ok(request) = split_request(frame) else { break };
        let id = request.header.call_id.unwrap_or(0);
        if length > shared.lock().limits.request_bytes {
            let _ = out.send(Out::Bytes(exception(id, &Fail::new("RequestTooBigException", format!("{length} bytes"))))).await;
            let _ = out.send(Out::Close).await;
            return std::future::pending().await;
        }
        // A call outlives its connection: what was sent is done, though nobody hears of it.
        tokio::spawn(call(shared.clone(), place.clone(), life, request, out.clone()));
    }
}

fn exception(call_id: u32, fail: &Fail) -> Bytes {
    encode_header(&pb::ResponseHeader { call_id: Some(call_id), exception: Some(fail.to_exception()), cell_block_meta: None })
}

/// Counts a data call as in flight while it lives.
struct InFlight(Arc<Shared>, usize);

impl InFlight {
    fn count(shared: &Arc<Shared>, place: &Place) -> Option<Self> {
        let server = place.server.filter(|_| place.service == "ClientService")?;
        let mut world = shared.lock();
        let it = &mut world.servers[server];
        it.in_flight += 1;
        it.in_flight_max = it.in_flight_max.max(it.in_flight);
        Some(Self(shared.clone(), server))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.lock().servers[self.1].in_flight -= 1;
        self.0.news.notify_waiters();
    }
}

async fn call(shared: Arc<Shared>, place: Place, life: Option<u64>, request: Request, out: mpsc::Sender<Out>) {
    let counted = InFlight::count(&shared, &place);
    let (fault, yields) = {
        let mut world = shared.lock();
        let seen = facts(&world, &place, &request);
        let facts = Facts { method: seen.method.clone(), table: seen.table.clone(), server: seen.server };
        world.seen.push(seen);
        (world.script.fault_of(&facts), world.dice.below(4))
    };
    shared.news.notify_waiters();
    // Answers overtake each other, as they do with many handlers.
    for _ in 0..yields {
        tokio::task::yield_now().await;
    }
    match &fault {
        Some(Fault::Hold(gate)) => gate.pass().await,
        Some(Fault::DropCall) => return,
        Some(Fault::CloseBefore) => return drop(out.send(Out::Close).await),
        _ => {}
    }
    let id = request.header.call_id.unwrap_or(0);
    let answered = {
        let mut world = shared.lock();
        // The process this call came to has died meanwhile.
        if life.is_none() || world.life(place.server) != life {
            return;
        }
        answer(&mut world, &place, &request, fault.as_ref())
    };
    let bytes = match answered {
        Ok(answer) => frame(id, &answer),
        Err(fail) => exception(id, &fail),
    };
    drop(counted);
    match fault {
        Some(Fault::DropReply) => {}
        Some(Fault::CloseAfter) => drop(out.send(Out::Close).await),
        Some(Fault::CloseMidFrame) => {
            let _ = out.send(Out::Bytes(bytes.slice(..bytes.len() / 2))).await;
            let _ = out.send(Out::Close).await;
        }
        Some(Fault::Garbage) => {
            // The length stays true, so that the reader takes the noise for a frame.
            let mut noise = bytes.to_vec();
            noise.iter_mut().skip(4).for_each(|byte| *byte = byte.wrapping_mul(31) ^ 0xa5);
            let _ = out.send(Out::Bytes(noise.into())).await;
        }
        Some(Fault::Twist) => {
            let twisted = twisted(&mut shared.lock().dice, &bytes);
            let _ = out.send(Out::Bytes(twisted)).await;
        }
        Some(Fault::Late(pause)) => {
            tokio::time::sleep(pause).await;
            let _ = out.send(Out::Bytes(bytes)).await;
        }
        _ => drop(out.send(Out::Bytes(bytes)).await),
    }
}

/// The first bytes hold the lengths: they are met more often than their share.
fn twisted(dice: &mut Dice, bytes: &[u8]) -> Bytes {
    let mut twisted = bytes.to_vec();
    for _ in 0..=dice.below(3) {
        let reach = if dice.below(2) == 0 { twisted.len().min(24) } else { twisted.len() };
        let at = dice.below(reach as u64) as usize;
        twisted[at] = dice.next() as u8;
    }
    twisted.into()
}

fn frame(call_id: u32, answer: &Answer) -> Bytes {
    let cells = answer.cells.bytes();
    let cell_block_meta = (!cells.is_empty()).then_some(pb::CellBlockMeta { length: Some(cells.len() as u32) });
    let header = pb::ResponseHeader { call_id: Some(call_id), exception: None, cell_block_meta };
    encode(&header, &Raw(&answer.message), [cells])
}

/// A message that is encoded already.
#[derive(Debug)]
struct Raw<'a>(&'a [u8]);

impl Message for Raw<'_> {
    fn encode_raw(&self, buf: &mut impl bytes::BufMut) {
        buf.put_slice(self.0);
    }
    fn merge_field(
        &mut self,
        _: u32,
        _: prost::encoding::WireType,
        _: &mut impl bytes::Buf,
        _: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        Ok(())
    }
    fn encoded_len(&self) -> usize {
        self.0.len()
    }
    fn clear(&mut self) {}
}

/// Table and rows of a call, as far as it names them.
fn facts(world: &World, place: &Place, request: &Request) -> Seen {
    let method = request.header.method_name.clone().unwrap_or_default();
    let table_of = |region: &[u8]| {
        if region == META_REGION {
            return META_TABLE.to_owned();
        }
        let name = world.regions.iter().find(|r| r.name == region).map(|r| r.table.clone());
        name.unwrap_or_else(|| String::from_utf8_lossy(region).split(',').next().unwrap_or_default().to_owned())
    };
    let message = || request.message.clone();
    let (mut table, mut rows) = (String::new(), Vec::new());
    match (place.service.as_str(), method.as_str()) {
        ("ClientService", "Multi") => {
            let multi = pb::MultiRequest::decode(message()).unwrap_or_default();
            table = multi.region_action.first().map(|r| table_of(&r.region.value)).unwrap_or_default();
            let row = |a: &pb::Action| a.get.as_ref().map(|g| g.row.clone()).or_else(|| a.mutation.as_ref()?.row.clone());
            rows = multi.region_action.iter().flat_map(|r| r.action.iter().filter_map(row)).collect();
        }
        ("ClientService", "Get") => {
            let get = pb::GetRequest::decode(message()).unwrap_or_default();
            table = table_of(&get.region.value);
            rows.push(get.get.row);
        }
        ("ClientService", "Mutate") => {
            let mutate = pb::MutateRequest::decode(message()).unwrap_or_default();
            table = table_of(&mutate.region.value);
            rows.extend(mutate.mutation.row);
        }
        ("ClientService", "Scan") => {
            let scan = pb::ScanRequest::decode(message()).unwrap_or_default();
            table = scan.region.map(|r| table_of(&r.value)).unwrap_or_default();
        }
        ("MasterService", "GetTableState") => {
            let asked = pb::GetTableStateRequest::decode(message()).unwrap_or_default();
            table = full_name(&asked.table_name);
        }
        _ => {}
    }
    Seen { server: place.server, method, table, rows }
}

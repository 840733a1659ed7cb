//! Frames against known bytes, against themselves, and against hostile ones.

use super::*;
use crate::io::hbase::cell::{CellRun, CellType, LATEST};
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn read_all(bytes: &[u8], max: usize) -> (Vec<Bytes>, Option<FrameError>) {
    let mut reader = FrameReader::new(bytes, max);
    let mut frames = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    loop {
        match runtime.block_on(reader.next()) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error)),
        }
    }
}

/// Goal: the greeting is the one HBase expects. Method: a header without a version against bytes another client made.
#[test]
fn the_greeting_has_the_known_bytes() {
    let header = pb::ConnectionHeader {
        user_info: Some(pb::UserInformation { effective_user: "u".into() }),
        service_name: Some("ClientService".into()),
        cell_block_codec_class: Some(CODEC.into()),
        version_info: None,
    };
    let known = hex(
        "484261730050 00000041 0a030a0175120d436c69656e74536572766963651a2b6f72672e6170616368652e6861646f6f702e68626173652e636f6465632e4b657956616c7565436f646563",
    );
    assert_eq!(greeting_of(&header), known);
    let read = |bytes: &[u8]| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(FrameReader::new(bytes, 1000).greeting())
    };
    assert_eq!(read(&known).unwrap(), header);
    let ours = read(&greeting("u", Service::Registry)).unwrap();
    assert_eq!((ours.service_name.as_deref(), ours.cell_block_codec_class), (Some("ClientMetaService"), None));
    assert_eq!(ours.version_info.map(|v| (v.version_major, v.version_minor)), Some((Some(2), Some(6))));
    assert!(matches!(read(b"HBas\x01\x50\0\0\0\0"), Err(FrameError::Garbled(_))));
}

/// A batch of an atomic put and increment, then a get, as in HBase's own tests of this form.
fn sample() -> (pb::RequestHeader, pb::MultiRequest, [CellRun; 2]) {
    let region = pb::RegionSpecifier::named(Bytes::from(format!("t,,1.{}.", "0".repeat(32))));
    let mutation = |kind, nonce| pb::MutationProto {
        row: Some(Bytes::from_static(b"r1")),
        mutate_type: Some(kind),
        durability: Some(2),
        associated_cell_count: Some(1),
        nonce,
        ..Default::default()
    };
    let act = |index, mutation, get| pb::Action { index: Some(index), mutation, get };
    let first = pb::RegionAction {
        region: region.clone(),
        atomic: Some(true),
        action: vec![act(0, Some(mutation(2, None)), None), act(1, Some(mutation(1, Some(7))), None)],
        condition: None,
    };
    let get = pb::Get { row: Bytes::from_static(b"r1"), ..Default::default() };
    let second = pb::RegionAction { region, atomic: None, action: vec![act(0, None, Some(get))], condition: None };
    let mut cells = [CellRun::default(), CellRun::default()];
    cells[0].push(b"r1", b"d", b"a.x", 42, CellType::Put, b"hi").unwrap();
    cells[1].push(b"r1", b"v", b"n", LATEST, CellType::Put, &1i64.to_be_bytes()).unwrap();
    let header = request_header(1, "Multi", 60_000, 68);
    (header, pb::MultiRequest { region_action: vec![first, second], nonce_group: Some(9) }, cells)
}

/// Goal: a batch is sent as HBase's own clients send it. Method: header, message and whole frame against known bytes.
#[test]
fn a_batch_has_the_known_bytes() {
    let (header, request, cells) = sample();
    assert_eq!(header.encode_to_vec(), hex("08011a054d756c746920012a02084438e0d403"));
    let region = "0a2a08011226742c2c312e30303030303030303030303030303030303030303030303030303030303030302e";
    let known = format!(
        "0a50{region}10011a0e0800120a0a0272311002300240011a100801120c0a02723110013002400148070a36{region}1a0808001a040a0272311009"
    );
    let message = request.encode_to_vec();
    assert_eq!(message, hex(&known));
    assert_eq!(message.len(), 140);
    assert_eq!(pb::MultiRequest::decode(&message[..]).unwrap(), request);
    let frame = encode(&header, &request, cells.iter().map(CellRun::bytes));
    assert_eq!((frame.len(), encoded_len(&header, &request, 68)), (234, 234));
    assert_eq!(frame[..5], [0, 0, 0, 230, 19]);
    let taken = split_request(frame.slice(4..)).unwrap();
    assert_eq!((taken.header, &taken.message[..]), (header, &message[..]));
    assert_eq!(taken.cells, [cells[0].bytes(), cells[1].bytes()].concat());
}

/// Goal: frames are read whatever the packets. Method: two replies, one with an exception, over a stream; then cut off.
#[test]
fn replies_come_one_by_one() {
    let header =
        pb::ResponseHeader { call_id: Some(5), exception: None, cell_block_meta: Some(pb::CellBlockMeta { length: Some(3) }) };
    let failed =
        pb::ResponseHeader { call_id: Some(6), exception: Some(pb::ExceptionResponse::default()), cell_block_meta: None };
    let message = pb::GetClusterIdResponse { cluster_id: Some("c".into()) };
    let stream = [encode(&header, &message, [&b"abc"[..]]), encode_header(&failed)].concat();
    let (frames, error) = read_all(&stream, 1000);
    assert!(error.is_none());
    let replies: Vec<Reply> = frames.into_iter().map(|f| split_reply(f).unwrap()).collect();
    assert_eq!((replies[0].message.to_vec(), &replies[0].cells[..]), (message.encode_to_vec(), &b"abc"[..]));
    assert_eq!(replies[1].header, failed);
    let (frames, error) = read_all(&stream[..stream.len() - 1], 1000);
    assert_eq!(frames.len(), 1);
    assert!(matches!(error, Some(FrameError::Torn)));
}

/// Goal: a length alone reserves nothing. Method: a frame that claims 200 MiB and holds ten bytes, under and over the bound.
#[test]
fn a_long_frame_is_not_believed() {
    let mut bytes = (200u32 << 20).to_be_bytes().to_vec();
    bytes.extend_from_slice(&[7; 10]);
    let mut reader = FrameReader::new(&bytes[..], FRAME_BYTES_MAX);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(matches!(runtime.block_on(reader.next()), Err(FrameError::Torn)));
    assert!(reader.buffer.capacity() <= 4 * READ_BYTES, "{} bytes are reserved", reader.buffer.capacity());
    assert!(matches!(read_all(&bytes, 1000).1, Some(FrameError::TooLong { max: 1000, .. })));
}

proptest! {
    /// Goal: hostile frames are an error, never a panic. Method: a good reply and request with bytes changed, cut off, or noise.
    #[test]
    fn hostile_frames_are_refused(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), keep in any::<prop::sample::Index>(), noise in prop::collection::vec(any::<u8>(), 0..60)) {
        let (header, request, cells) = sample();
        let good = encode(&header, &request, cells.iter().map(CellRun::bytes));
        let mut bytes = good.to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(keep.index(bytes.len() + 1));
        for stream in [bytes, noise] {
            let (frames, _) = read_all(&stream, 1000);
            for frame in frames {
                let length = frame.len();
                if let Ok(reply) = split_reply(frame.clone()) {
                    prop_assert!(reply.message.len() + reply.cells.len() < length);
                    let _ = pb::MultiResponse::decode(reply.message.clone());
                    let _ = pb::ScanResponse::decode(reply.message);
                }
                if let Ok(request) = split_request(frame) {
                    prop_assert!(request.message.len() + request.cells.len() < length);
                }
            }
        }
    }
}

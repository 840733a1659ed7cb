//! What travels on a socket: the greeting of a connection, then frames in both directions.
//!
//! A frame is `u32` total length, then header and message, each behind its varint length, then a cell block. Both sides are
//! here, so that a server made for tests speaks through the same code. Keeps two bounds: a frame is never longer than the
//! reader's `max`, and memory is reserved as bytes arrive, never on a length's word. Knows nothing of calls.

use super::pb;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};
use tokio::io::{AsyncRead, AsyncReadExt};

/// `HBas`, version 0, authentication SIMPLE.
pub const PREAMBLE: [u8; 6] = *b"HBas\x00\x50";
/// The call id of an error that concerns the whole connection.
pub const CONNECTION_CALL_ID: u32 = u32::MAX;
/// The largest frame HBase itself accepts by default, in bytes.
pub const FRAME_BYTES_MAX: usize = 256 << 20;

const CODEC: &str = "org.apache.hadoop.hbase.codec.KeyValueCodec";
/// Bytes read at once: also the largest step in which a reader's buffer grows ahead of what has arrived.
const READ_BYTES: usize = 64 << 10;

/// The services of HBase's servers. A connection serves one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Service {
    /// Data, on region servers.
    Client,
    /// Where meta and master are, on every server.
    Registry,
    /// Tables, on the active master.
    Master,
    /// Flushes, on region servers.
    Admin,
}

impl Service {
    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "ClientService",
            Self::Registry => "ClientMetaService",
            Self::Master => "MasterService",
            Self::Admin => "AdminService",
        }
    }
}

/// Bytes that are no frame. The socket they came over cannot be trusted any more.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {found} bytes; at most {max} are taken")]
    TooLong { found: usize, max: usize },
    #[error("the frame does not hold together: {0}")]
    Garbled(&'static str),
    #[error("the frame's message cannot be read: {0}")]
    Message(#[from] prost::DecodeError),
    #[error("the other side closed the connection inside a frame")]
    Torn,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What a client says first: preamble and connection header. There is no answer when it is accepted.
///
/// The version makes the server keep its limits on reply sizes and name a request that is too big.
pub fn greeting(user: &str, service: Service) -> Bytes {
    let header = pb::ConnectionHeader {
        user_info: Some(pb::UserInformation { effective_user: user.to_owned() }),
        service_name: Some(service.name().to_owned()),
        cell_block_codec_class: (service == Service::Client).then(|| CODEC.to_owned()),
        version_info: Some(pb::VersionInfo {
            version: "2.6.0".to_owned(),
            url: String::new(),
            revision: String::new(),
            user: user.to_owned(),
            date: String::new(),
            src_checksum: String::new(),
            version_major: Some(2),
            version_minor: Some(6),
        }),
    };
    greeting_of(&header)
}

fn greeting_of(header: &pb::ConnectionHeader) -> Bytes {
    let length = header.encoded_len();
    let mut out = BytesMut::with_capacity(PREAMBLE.len() + 4 + length);
    out.put_slice(&PREAMBLE);
    out.put_u32(length as u32);
    // A message always fits a buffer that grows.
    let _ = header.encode(&mut out);
    out.freeze()
}

/// One frame of header, message and cell block, in one buffer.
pub fn encode<'a>(header: &impl Message, message: &impl Message, cells: impl IntoIterator<Item = &'a [u8]>) -> Bytes {
    encode_parts(header, Some(message), cells)
}

/// A frame without a message: how a server answers with an exception.
pub fn encode_header(header: &impl Message) -> Bytes {
    encode_parts(header, None::<&pb::Empty>, [])
}

fn encode_parts<'a>(header: &impl Message, message: Option<&impl Message>, cells: impl IntoIterator<Item = &'a [u8]>) -> Bytes {
    let header_len = header.encoded_len();
    let message_len = message.map_or(0, Message::encoded_len);
    let mut out = BytesMut::with_capacity(4 + 20 + header_len + message_len);
    out.put_u32(0);
    encode_varint(header_len as u64, &mut out);
    let _ = header.encode(&mut out);
    if let Some(message) = message {
        encode_varint(message_len as u64, &mut out);
        let _ = message.encode(&mut out);
    }
    for run in cells {
        out.put_slice(run);
    }
    let total = (out.len() - 4) as u32;
    out[..4].copy_from_slice(&total.to_be_bytes());
    out.freeze()
}

/// Bytes a frame of these parts has, its own length included.
pub fn encoded_len(header: &impl Message, message: &impl Message, cells: usize) -> usize {
    let prefixed = |length: usize| encoded_len_varint(length as u64) + length;
    4 + prefixed(header.encoded_len()) + prefixed(message.encoded_len()) + cells
}

/// A request's header.
pub fn request_header(call_id: u32, method: &str, timeout_ms: u32, cells: usize) -> pb::RequestHeader {
    pb::RequestHeader {
        call_id: Some(call_id),
        method_name: Some(method.to_owned()),
        request_param: Some(true),
        cell_block_meta: (cells > 0).then_some(pb::CellBlockMeta { length: Some(cells as u32) }),
        priority: None,
        timeout: Some(timeout_ms),
    }
}

/// A reply taken apart: the message still encoded, the cells untouched.
#[derive(Clone, Debug)]
pub struct Reply {
    pub header: pb::ResponseHeader,
    /// Empty when the header holds an exception.
    pub message: Bytes,
    pub cells: Bytes,
}

/// Takes a server's frame apart.
///
/// # Errors
/// Lengths point outside the frame, or the header cannot be read.
pub fn split_reply(mut frame: Bytes) -> Result<Reply, FrameError> {
    let header = pb::ResponseHeader::decode(delimited(&mut frame)?)?;
    let cells = header.cell_block_meta.and_then(|meta| meta.length).unwrap_or(0) as usize;
    if header.exception.is_some() {
        return Ok(Reply { header, message: Bytes::new(), cells: Bytes::new() });
    }
    // A reply whose message has no field may leave it out altogether.
    let message = if frame.is_empty() { Bytes::new() } else { delimited(&mut frame)? };
    if cells != frame.len() {
        return Err(FrameError::Garbled("the cell block is not as long as the header says"));
    }
    Ok(Reply { header, message, cells: frame })
}

/// A request taken apart, as a server does.
#[derive(Clone, Debug)]
pub struct Request {
    pub header: pb::RequestHeader,
    pub message: Bytes,
    pub cells: Bytes,
}

/// Takes a client's frame apart.
///
/// # Errors
/// Lengths point outside the frame, or the header cannot be read.
pub fn split_request(mut frame: Bytes) -> Result<Request, FrameError> {
    let header = pb::RequestHeader::decode(delimited(&mut frame)?)?;
    let message = if header.request_param == Some(true) { delimited(&mut frame)? } else { Bytes::new() };
    let cells = header.cell_block_meta.and_then(|meta| meta.length).unwrap_or(0) as usize;
    if cells != frame.len() {
        return Err(FrameError::Garbled("the cell block is not as long as the header says"));
    }
    Ok(Request { header, message, cells: frame })
}

/// The bytes behind a varint length.
fn delimited(frame: &mut Bytes) -> Result<Bytes, FrameError> {
    let length = decode_varint(frame)?;
    match usize::try_from(length) {
        Ok(length) if length <= frame.len() => Ok(frame.split_to(length)),
        _ => Err(FrameError::Garbled("a length points outside the frame")),
    }
}

/// Reads frames off a socket.
#[derive(Debug)]
pub struct FrameReader<R> {
    socket: R,
    buffer: BytesMut,
    max: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Frames of at most `max` bytes.
    pub fn new(socket: R, max: usize) -> Self {
        Self { socket, buffer: BytesMut::with_capacity(READ_BYTES), max }
    }

    /// The next frame without its length; `None` when the other side closed between frames.
    ///
    /// # Errors
    /// The frame is longer than `max`, the socket fails, or closes inside a frame.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(mut head) = self.take(4).await? else { return Ok(None) };
        let found = head.get_u32() as usize;
        if found > self.max {
            return Err(FrameError::TooLong { found, max: self.max });
        }
        self.take(found).await?.map_or(Err(FrameError::Torn), |frame| Ok(Some(frame)))
    }

    /// The greeting a client opens with, as a server reads it.
    ///
    /// # Errors
    /// As [`FrameReader::next`], and when the preamble is not the one above.
    pub async fn greeting(&mut self) -> Result<pb::ConnectionHeader, FrameError> {
        let preamble = self.take(PREAMBLE.len()).await?.ok_or(FrameError::Torn)?;
        if preamble[..] != PREAMBLE {
            return Err(FrameError::Garbled("the connection does not open with HBase's preamble"));
        }
        Ok(pb::ConnectionHeader::decode(self.next().await?.ok_or(FrameError::Torn)?)?)
    }

    /// Exactly `length` bytes; `None` when the stream ended before the first of them.
    async fn take(&mut self, length: usize) -> Result<Option<Bytes>, FrameError> {
        while self.buffer.len() < length {
            let missing = length - self.buffer.len();
            self.buffer.reserve(missing.clamp(4096, READ_BYTES));
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(FrameError::Torn) };
            }
        }
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests;
